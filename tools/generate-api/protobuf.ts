/**
 * Writes `src/api/gen/protobuf-fields.ts`: the protobuf field numbers of the types in `src/api/gen/schema.ts`.
 *
 * Run by hand when the Kubernetes version moves: `node protobuf.ts FACTS.json`, with the facts read from the generated.proto
 * files of k8s.io/api, apimachinery, apiextensions-apiserver and kube-aggregator as
 * {"messages": {MESSAGE: [[number, name, type, "repeated" or ""], …]}}.
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

/** Where the messages of a group stand that is not one of k8s.io/api. */
const packages: Readonly<Record<string, string>> = {
  meta: 'k8s.io.apimachinery.pkg.apis.meta',
  apiextensions: 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions',
  apiregistration: 'k8s.io.kube_aggregator.pkg.apis.apiregistration',
};

function messageOf(typeName: string): string {
  const [groupVersion = '', name = ''] = typeName.split('.');
  const [group = '', version = ''] = groupVersion.split('/');
  return `${packages[group] ?? `k8s.io.api.${group}`}.${version}.${name}`;
}

/** Field names as both sides have them: aPIGroup is apiGroup, xKubernetesMapType x-kubernetes-map-type, ref $ref. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** Messages whose JSON is of a shape of its own, such as `true` or a schema. See src/apiserver/protobuf-shapes.ts. */
const shapes = /JSONSchemaPropsOr\w+|CustomResourceSubresourceStatus/;

/** "core/v1.Probe" + "ProbeHandler" → "core/v1.ProbeHandler". */
function neighbour(typeName: string, message: string): string {
  return `${typeName.slice(0, typeName.lastIndexOf('.'))}.${message}`;
}

const rows = new Map<string, string>();
const missing: string[] = [];
for (const [typeName, fields] of Object.entries(schemaTable)) {
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
    const field = Object.keys(fields).find((candidate) => plain(candidate) === plain(name));
    if (field !== undefined) {
      const shape = shapes.exec(type)?.[0];
      parts.push(`${number} ${field}${shape === undefined ? '' : `:${shape}`}`);
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
/**
 * Type name to \`NUMBER FIELD, …\`; \`NUMBER (…)\` is a message whose fields stand in the JSON object around it, and
 * \`NUMBER FIELD:SHAPE\` one that looks different as JSON.
 */
export const protobufFields: Readonly<Record<string, string>> = {
${lines.join('\n')}
};
`,
);
if (missing.length > 0) console.log('without a number:', missing.join(' '));
