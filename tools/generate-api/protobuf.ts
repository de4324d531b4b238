/**
 * Writes `src/api/gen/protobuf-fields.ts`: the protobuf field numbers of the types in `src/api/gen/schema.ts`.
 *
 * Run by hand when the Kubernetes version moves: `node protobuf.ts FACTS.json`, with the facts read from Kubernetes'
 * generated.proto files as {"messages": {MESSAGE: [[number, name, type, "repeated" or ""], …]}}.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { schemaTable } from '../../src/api/gen/schema.ts';

type Fact = readonly [number: number, name: string, type: string, repeated: string];

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: node protobuf.ts FACTS.json');
const { messages } = JSON.parse(readFileSync(file, 'utf8')) as {
  readonly messages: Readonly<Record<string, readonly Fact[]>>;
};

/** Not sent as protobuf by anybody: their JSON types have no equal message. */
const left = new Set(['apiextensions/v1', 'apiregistration/v1']);

function messageOf(typeName: string): string {
  const [groupVersion = '', name = ''] = typeName.split('.');
  const [group = '', version = ''] = groupVersion.split('/');
  return group === 'meta'
    ? `k8s.io.apimachinery.pkg.apis.meta.${version}.${name}`
    : `k8s.io.api.${group}.${version}.${name}`;
}

/** "core/v1.Probe" + "ProbeHandler" → "core/v1.ProbeHandler". */
function neighbour(typeName: string, message: string): string {
  return `${typeName.slice(0, typeName.lastIndexOf('.'))}.${message}`;
}

const rows = new Map<string, string>();
const missing: string[] = [];
for (const [typeName, fields] of Object.entries(schemaTable)) {
  if (left.has(typeName.slice(0, typeName.lastIndexOf('.')))) continue;
  const facts = messages[messageOf(typeName)];
  if (facts === undefined) {
    missing.push(typeName);
    continue;
  }
  const seen = new Set<string>();
  rows.set(typeName, rowOf(typeName, fields, facts, seen));
  for (const field of Object.keys(fields)) {
    if (!seen.has(field) && field !== 'apiVersion' && field !== 'kind') missing.push(`${typeName}.${field}`);
  }
}

/** `fields`: what the JSON type has; an embedded message's fields stand among them. */
function rowOf(
  typeName: string,
  fields: Readonly<Record<string, string>>,
  facts: readonly Fact[],
  seen: Set<string>,
): string {
  const parts: string[] = [];
  for (const [number, name, type] of facts) {
    // A few messages spell a name in their own way: aPIGroup, uID, Webhooks.
    const field = Object.keys(fields).find((candidate) => candidate.toLowerCase() === name.toLowerCase());
    if (field !== undefined) {
      parts.push(`${number} ${field}`);
      seen.add(field);
      continue;
    }
    const embedded = neighbour(typeName, type);
    const inner = messages[messageOf(embedded)];
    if (inner === undefined) continue; // newer than our schema
    const text = rowOf(embedded, fields, inner, seen);
    if (text !== '') parts.push(`${number} (${text})`);
  }
  return parts.join(', ');
}

const lines = [...rows].map(([name, row]) => `  '${name}': '${row}',`);
writeFileSync(
  fileURLToPath(new URL('../../src/api/gen/protobuf-fields.ts', import.meta.url)),
  `// Written by tools/generate-api/protobuf.ts. Do not edit by hand.
/** Type name to \`NUMBER FIELD, …\`; \`NUMBER (…)\` is a message whose fields stand in the JSON object around it. */
export const protobufFields: Readonly<Record<string, string>> = {
${lines.join('\n')}
};
`,
);
if (missing.length > 0) console.log('without a number:', missing.join(' '));
