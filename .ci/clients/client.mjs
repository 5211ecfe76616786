// One of the official TypeScript clients, driven by lines of JSON as client.py is.
//
// Usage: node client.mjs MODULES PACKAGE MODE
//
// MODULES is the folder of the packages. PACKAGE is one of 1.x or 2.x; MODE is `legacy`, `auto` or
// `pin` (to 2026-07-28).
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [modules, name, mode] = process.argv.slice(2);
const require = createRequire(`${modules}/of.cjs`);
const load = (path) => import(pathToFileURL(require.resolve(`${name}/${path}`.replace(/\/$/, ''))));
const old = name !== '@modelcontextprotocol/client';
const { Client } = await load(old ? 'client/index.js' : '');
const { StdioClientTransport } = await load(old ? 'client/stdio.js' : 'stdio');
const asked = old ? (await load('types.js')).ElicitRequestSchema : 'elicitation/create';

const tell = (line) => console.log(JSON.stringify(line));
let client, answer, questions;

async function open(server, forms) {
  const options = { capabilities: forms ? { elicitation: {} } : {} };
  if (mode === 'auto') options.versionNegotiation = { mode };
  if (mode === 'pin') options.versionNegotiation = { mode: { pin: '2026-07-28' } };
  client = new Client({ name: 'lines', version: '1' }, options);
  if (forms) {
    client.setRequestHandler(asked, async (request) => {
      questions.push(request.params.message);
      await sleep(answer.after * 1000);
      const { action, content } = answer;
      return content ? { action, content } : { action };
    });
  }
  const transport = new StdioClientTransport(server);
  // Old clients keep to themselves what was agreed on.
  let agreed, hear;
  Object.defineProperty(transport, 'onmessage', {
    get: () => hear,
    set: (to) => {
      hear = (message, more) => {
        agreed ??= message.result?.protocolVersion;
        to(message, more);
      };
    },
  });
  await client.connect(transport);
  const protocol = client.getNegotiatedProtocolVersion?.() ?? agreed;
  const [info, capabilities] = [client.getServerVersion(), client.getServerCapabilities()];
  tell({ protocol, info, capabilities, instructions: client.getInstructions?.() });
}

async function call(order) {
  [answer, questions] = [order.answer, []];
  const [progress, stop] = [[], new AbortController()];
  const options = { signal: stop.signal };
  if (order.progress) options.onprogress = (now) => progress.push(now);
  let timer, gone = false;
  const cancel = () => {
    gone = true;
    stop.abort('not wanted any more');
  };
  if (order.cancel_after) timer = setTimeout(cancel, order.cancel_after * 1000);
  try {
    const params = { name: order.call, arguments: order.arguments };
    const result = await client.callTool(params, ...(old ? [undefined, options] : [options]));
    return { result, questions, progress };
  } catch (error) {
    if (gone) return { cancelled: true, progress };
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

const lists = {
  tools: async () => (await client.listTools()).tools,
  prompts: async () => (await client.listPrompts()).prompts,
  resources: async () => (await client.listResources()).resources,
  templates: async () => (await client.listResourceTemplates()).resourceTemplates,
};

async function carryOut(order) {
  if (order.list) return { result: await lists[order.list]() };
  if (order.prompt) {
    return { result: await client.getPrompt({ name: order.prompt, arguments: order.arguments }) };
  }
  if (order.read) return { result: await client.readResource({ uri: order.read }) };
  if (order.complete) {
    return { result: await client.complete({ ref: order.complete, argument: order.argument }) };
  }
  return call(order);
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  if (order.open) {
    await open(order.open, order.forms);
  } else if (order.close) {
    await client.close();
    tell({ closed: true });
  } else {
    try {
      tell(await carryOut(order));
    } catch (error) {
      tell({ error: { code: error.code ?? null, message: String(error.message) } });
    }
  }
}
