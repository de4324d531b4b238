import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { isAtomicType, markedFields, markerOf } from './list-markers.ts';
import { isJsonObject, type JsonObject } from './object.ts';
import { openApiV2Json } from './openapi.ts';
import { fullName } from './openapi-definitions.ts';

/** Our facts against Kubernetes' own schema of the same version, where a copy lies beside the repository. */
const file = join(import.meta.dirname, '../../../shared/reference/kubernetes-openapi-v2.json.gz');
const skip = existsSync(file)
  ? false
  : 'no kubernetes-openapi-v2.json.gz in ../shared/reference beside the repository';

function read(): {
  readonly ours: Readonly<Record<string, JsonObject>>;
  readonly theirs: Readonly<Record<string, JsonObject>>;
} {
  const official = JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')) as {
    definitions: Record<string, JsonObject>;
  };
  const own = JSON.parse(new TextDecoder().decode(openApiV2Json())) as {
    definitions: Record<string, JsonObject>;
  };
  return { ours: own.definitions, theirs: official.definitions };
}

/** The generator's source has plain texts where quantities are: harmless, the wire form is one. */
const knownDifferences: ReadonlySet<string> = new Set([
  'io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus',
  'io.k8s.api.autoscaling.v2.HPAScalingRules',
  // Values of any shape, which Kubernetes gives names of their own.
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresources',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps',
]);

/** A schema without what is only prose. */
function facts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(facts);
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).filter(
    ([key, item]) =>
      key !== 'description' &&
      key !== 'x-kubernetes-unions' &&
      !(key === 'x-kubernetes-map-type' && item === 'granular'), // the default, said aloud
  );
  return Object.fromEntries(kept.map(([key, item]) => [key, facts(item)]));
}

test('official schema: every property of our definitions is the official one, markers included', {
  skip,
}, () => {
  const { ours, theirs } = read();
  let compared = 0;
  for (const [name, definition] of Object.entries(ours)) {
    const official = theirs[name];
    assert.ok(official !== undefined, `${name} is no definition of Kubernetes`);
    const { 'x-kubernetes-group-version-kind': _ours, ...own } = definition;
    const { 'x-kubernetes-group-version-kind': _theirs, ...other } = official;
    if (knownDifferences.has(name)) continue;
    assert.deepEqual(facts(own), facts(sorted(other)), name);
    compared++;
  }
  assert.ok(compared > 200, `only ${compared} definitions compared`);
});

function sorted(definition: JsonObject): JsonObject {
  const { required } = definition;
  if (!Array.isArray(required)) return definition;
  return { ...definition, required: required.filter((name) => typeof name === 'string').toSorted() };
}

test('official schema: no marker of ours names a field that is not served', { skip }, () => {
  const { ours } = read();
  for (const { type, field } of markedFields()) {
    const properties = ours[fullName(type)]?.['properties'];
    assert.ok(isJsonObject(properties) && properties[field] !== undefined, `${type}.${field}`);
  }
});

test('markers: the grammar', () => {
  assert.deepEqual(markerOf('core/v1.ServiceSpec', 'ports'), {
    listType: 'map',
    listMapKeys: ['port', 'protocol'],
    patchMerge: true,
    patchRetainKeys: false,
    patchMergeKey: 'port',
  });
  assert.deepEqual(markerOf('apps/v1.DeploymentSpec', 'strategy'), {
    patchMerge: false,
    patchRetainKeys: true,
  });
  assert.deepEqual(markerOf('core/v1.Service', 'spec'), { patchMerge: false, patchRetainKeys: false });
  assert.equal(isAtomicType('core/v1.LocalObjectReference'), true);
  assert.equal(isAtomicType('core/v1.Container'), false);
});
