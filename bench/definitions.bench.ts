/**
 * How soon a CustomResourceDefinition can be used: from the answer to its create to the answer of the first list of its new
 * resource that succeeds, against an API server on SQLite in a process of its own.
 *
 *   npm run bench -- definitions [--definitions N] [--write]
 *
 * Definitions are made one after the other, each with a schema and CEL rules, so the last one comes to a server with all others.
 */
import { parseArgs } from 'node:util';
import type { CustomResourceDefinition } from '../src/api/gen/apiextensions-v1.ts';
import { customResourceDefinitions, type Resource } from '../src/api/resource.ts';
import { isApiError } from '../src/client/client.ts';
import { startApiServerProcess } from '../test/support/apiserver-process.ts';
import { machineLine, percentile, writeSection } from './lib/report.ts';

/** What Kubernetes users may expect, ms. */
const budgetMs = 100;
const group = 'bench.fairlead.test';

function definition(plural: string): CustomResourceDefinition {
  const spec = {
    type: 'object',
    properties: {
      size: { type: 'integer', minimum: 0, default: 1 },
      names: { type: 'array', maxItems: 10, items: { type: 'string', maxLength: 63 } },
    },
    'x-kubernetes-validations': [{ rule: 'self.size >= 0', message: 'must not be negative' }],
  };
  const openAPIV3Schema = { type: 'object', properties: { spec, status: { type: 'object' } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, kind: `${plural.charAt(0).toUpperCase()}${plural.slice(1)}` },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: { openAPIV3Schema },
          subresources: { status: {} },
        },
      ],
    },
  };
}

const { values } = parseArgs({
  options: { definitions: { type: 'string', default: '200' }, write: { type: 'boolean', default: false } },
});
const count = Number(values.definitions);
const server = await startApiServerProcess();
try {
  const client = await server.client('bench', ['system:masters']);
  const usableMs: number[] = [];
  const createMs: number[] = [];
  for (let at = 0; at < count; at++) {
    const plural = `things${at}`;
    const startMs = performance.now();
    await client.create(customResourceDefinitions, definition(plural));
    const answeredMs = performance.now();
    createMs.push(answeredMs - startMs);
    const resource: Resource = { group, version: 'v1', plural, kind: plural, namespaced: true };
    for (;;) {
      try {
        await client.list(resource, { namespace: 'default' });
        break;
      } catch (error) {
        if (!isApiError(error, 'NotFound')) throw error;
      }
    }
    usableMs.push(performance.now() - answeredMs);
  }
  const row = (what: string, ms: readonly number[], budget: string): string =>
    `| ${what} | ${[50, 99, 100].map((percent) => percentile(ms, percent).toFixed(1)).join(' | ')} | ${budget} |`;
  const text = [
    `Command: \`npm run bench -- definitions --definitions ${count} --write\`. ${machineLine()}.`,
    '',
    '| what, ms | p50 | p99 | most | budget |',
    '|---|---|---|---|---|',
    row('answer to the create of a definition → first list of its resource', usableMs, String(budgetMs)),
    row('create of a definition → its answer', createMs, '–'),
  ].join('\n');
  console.log(text);
  if (values.write) writeSection('definitions', text);
  if (percentile(usableMs, 99) > budgetMs) process.exitCode = 1;
} finally {
  await server.stop();
}
