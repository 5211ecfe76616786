// Prints the protocol's JSON schemas, by revision: those with which the official conformance suite
// checks the wire. They stand in its only file as literals.
//
// Usage: node schemas.mjs FILE
import { readFileSync } from 'node:fs';
import { runInNewContext } from 'node:vm';

const text = readFileSync(process.argv[2], 'utf8');
const names = text.match(
  /\{"2025-03-26":(\w+),"2025-06-18":(\w+),"2025-11-25":(\w+),\[\w+\]:(\w+)\}/,
);
const revisions = ['2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'];
const schemas = {};
for (const [index, revision] of revisions.entries()) {
  const name = `${names[index + 1]}=`;
  const start = text.search(new RegExp(`\\b${name}\\{\\$schema:`)) + name.length;
  // Up to the brace that makes it whole: any shorter text is no expression.
  for (let end = start; schemas[revision] === undefined; ) {
    end = text.indexOf('}', end) + 1;
    if (end === 0) throw new Error(`no schema of ${revision}`);
    if (!/^(,\w+=|;)/.test(text.slice(end, end + 12))) continue;
    try {
      schemas[revision] = runInNewContext(`(${text.slice(start, end)})`, {}, { timeout: 5000 });
    } catch {}
  }
}
console.log(JSON.stringify(schemas));
