// One of the official TypeScript clients, driven by lines of JSON as client.py is.
//
// Usage: node client.mjs MODULES PACKAGE MODE
//
// MODULES is the folder of the packages. PACKAGE is `sdk` (1.x) or `client` (2.x).
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [modules, name, mode] = process.argv.slice(2);
const require = createRequire(`${modules}/of.cjs`);
const load = (path) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/${path}`)));
const old = name === 'sdk';
const { Client } = await load(old ? 'sdk/client/index.js' : 'client');
const { StdioClientTransport } = await load(old ? 'sdk/client/stdio.js' : 'client/stdio');
const asked = old ? (await load('sdk/types.js')).ElicitRequestSchema : 'elicitation/create';

const tell = (line) => console.log(JSON.stringify(line));
let client, answer, questions;

async function open(server, forms) {
  const options = { capabilities: forms ? { elicitation: {} } : {} };
  if (mode !== 'legacy') options.versionNegotiation = { mode };
  client = new Client({ name: 'consent', version: '1' }, options);
  if (forms) {
    client.setRequestHandler(asked, async (request) => {
      questions.push(request.params.message);
      await sleep(answer.after * 1000);
      const { action, content } = answer;
      return content ? { action, content } : { action };
    });
  }
  const transport = new StdioClientTransport(server);
  // The old client tells its transport alone what was agreed on.
  let agreed;
  transport.setProtocolVersion = (version) => (agreed = version);
  await client.connect(transport);
  tell({ protocol: client.getNegotiatedProtocolVersion?.() ?? agreed });
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.open) {
    await open(order.open, order.forms);
  } else if (order.close) {
    await client.close();
    tell({ closed: true });
  } else {
    [answer, questions] = [order.answer, []];
    const result = await client.callTool({ name: order.call, arguments: order.arguments });
    tell({ result, questions });
  }
}
