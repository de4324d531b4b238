import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { JsonObject } from '../api/object.ts';
import { kindNamed } from '../api/registry.ts';
import { assert as certain } from '../base/assert.ts';
import { kindsOfDefinition } from '../api/custom/kind.ts';
import {
  keyOfObject,
  parseEntry,
  prefixOf,
  randomSuffix,
  servedBytes,
  templateOf,
  templateOfEntry,
} from './objects.ts';

const kind = kindNamed('apps', 'v1', 'Deployment');
certain(kind !== undefined, 'Deployment is served');

test('stored object: keys by group, plural, namespace and name', () => {
  assert.equal(keyOfObject({ group: '', plural: 'pods' }, 'default', 'web'), '/pods/default/web');
  assert.equal(keyOfObject({ group: '', plural: 'nodes' }, '', 'n1'), '/nodes/n1');
  assert.equal(prefixOf({ group: 'apps', plural: 'deployments' }, 'a'), 'apps/deployments/a/');
});

test('stored object: the template around the revision is the whole object, whatever is in it', () => {
  const json = fc.dictionary(fc.string(), fc.jsonValue() as fc.Arbitrary<JsonObject>, { maxKeys: 4 });
  fc.assert(
    fc.property(json, json, (spec, labels) => {
      const object: JsonObject = { spec, metadata: { name: 'web', labels, resourceVersion: 'old' } };
      certain(kind !== undefined, 'Deployment is served');
      const { before, after } = templateOf(kind, object);
      const stored = `${before}42${after}`;
      assert.deepEqual(JSON.parse(stored), {
        kind: 'Deployment',
        apiVersion: 'apps/v1',
        metadata: { resourceVersion: '42', name: 'web', labels: JSON.parse(JSON.stringify(labels)) },
        spec: JSON.parse(JSON.stringify(spec)),
      });
      const final = templateOfEntry({ key: 'k', value: Buffer.from(stored), revision: 42 });
      assert.equal(`${final.before}42${final.after}`, stored);
    }),
  );
});

test('stored object: random suffixes use the alphabet of Kubernetes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 5, maxLength: 5 }), (random) => {
      assert.match(randomSuffix(5, random), /^[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    }),
  );
});

test('stored object: what was stored before its kind had defaults is read with them', () => {
  const boatWith = (sails: JsonObject) => {
    const schema = { openAPIV3Schema: { type: 'object', properties: { sails } } };
    const [boat] = kindsOfDefinition({
      spec: {
        group: 'example.com',
        scope: 'Cluster',
        names: { kind: 'Boat', plural: 'boats', singular: 'boat' },
        versions: [{ name: 'v1', served: true, storage: true, schema }],
      },
    });
    certain(boat !== undefined, 'Boat is served');
    return boat;
  };
  const [before, after] = [boatWith({ type: 'integer' }), boatWith({ type: 'integer', default: 2 })];
  const { before: head, after: tail } = templateOf(before, { metadata: { name: 'a' } });
  const entry = { key: 'k', value: Buffer.from(`${head}7${tail}`), revision: 7 };
  assert.equal(servedBytes(entry, before), entry.value, 'the stored bytes themselves');
  assert.deepEqual(parseEntry(entry, after)['sails'], 2);
  const served = servedBytes(entry, after);
  assert.equal(Buffer.from(served).toString(), `${head}7${tail.slice(0, -1)},"sails":2}`);
  assert.equal(servedBytes(entry, after), served, 'made once');
});
