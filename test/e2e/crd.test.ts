import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import type { KubeObject } from '../../src/api/object.ts';
import type { Resource } from '../../src/api/resource.ts';
import { runOk, which } from '../support/shell.ts';
import { startCluster, until } from './in-process-cluster.ts';

const skip = which('kubectl') === undefined ? 'kubectl is not installed' : false;
const options = { skip, timeout: 300_000 };

const group = 'stable.example.com';

type CronTab = KubeObject & {
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
};

function cronTabs(version: string): Resource<CronTab> {
  return { group, version, plural: 'crontabs', kind: 'CronTab', namespaced: true };
}

const specSchema = {
  type: 'object',
  'x-kubernetes-validations': [
    { rule: '!has(self.tags) || self.tags.size() <= 2', message: 'two tags at most' },
  ],
  required: ['cronSpec'],
  properties: {
    cronSpec: {
      type: 'string',
      pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$',
      description: 'When it runs.',
    },
    image: { type: 'string', default: 'busybox' },
    replicas: { type: 'integer', minimum: 1, maximum: 10, default: 1 },
    port: { 'x-kubernetes-int-or-string': true },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    template: {
      type: 'object',
      'x-kubernetes-embedded-resource': true,
      'x-kubernetes-preserve-unknown-fields': true,
    },
    tags: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
  },
};

const statusSchema = {
  type: 'object',
  properties: { replicas: { type: 'integer' }, labelSelector: { type: 'string' } },
};

const openAPIV3Schema = {
  type: 'object',
  description: 'A schedule of ours.',
  properties: { spec: specSchema, status: statusSchema },
};

const scale = {
  specReplicasPath: '.spec.replicas',
  statusReplicasPath: '.status.replicas',
  labelSelectorPath: '.status.labelSelector',
};

function definition(): object {
  const common = { served: true, schema: { openAPIV3Schema } };
  const additionalPrinterColumns = [
    { name: 'Spec', type: 'string', jsonPath: '.spec.cronSpec' },
    { name: 'Replicas', type: 'integer', jsonPath: '.spec.replicas' },
    { name: 'Image', type: 'string', jsonPath: '.spec.image', priority: 1 },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ];
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `crontabs.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'crontabs', kind: 'CronTab', shortNames: ['ct'], categories: ['all'] },
      versions: [
        { name: 'v1beta1', storage: false, ...common, deprecated: true },
        {
          name: 'v1',
          storage: true,
          ...common,
          subresources: { status: {}, scale },
          additionalPrinterColumns,
        },
      ],
    },
  };
}

function cronTab(name: string, spec: object, version = 'v1'): object {
  return {
    apiVersion: `${group}/${version}`,
    kind: 'CronTab',
    metadata: { name, namespace: 'default' },
    spec,
  };
}

test('custom resources: define, create, print, explain, scale, patch, convert, delete', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply, client } = cluster;
  await apply(definition());
  const established = 'jsonpath={.status.conditions[?(@.type=="Established")].status}';
  assert.equal(await kubectl('get', 'crd', `crontabs.${group}`, '-o', established), 'True');
  await apply(cronTab('mine', { cronSpec: '* * * * */5', port: 'http', free: { a: [1] }, unknown: 1 }));
  const made = await client.get(cronTabs('v1'), 'default', 'mine');
  assert.deepEqual(made.spec, {
    cronSpec: '* * * * */5',
    image: 'busybox',
    replicas: 1,
    port: 'http',
    free: { a: [1] },
  });
  assert.match(await kubectl('get', 'ct'), /NAME +SPEC +REPLICAS +AGE\nmine +\* \* \* \* \*\/5 +1 +\d+s/);
  assert.match(await kubectl('get', 'all', '-A'), /crontab.stable.example.com\/mine/);
  assert.match(await kubectl('explain', 'crontab.spec.cronSpec'), /When it runs/);
  assert.match(await kubectl('api-resources'), /crontabs +ct +stable.example.com\/v1 +true +CronTab/);

  await kubectl('scale', '--replicas=4', 'crontab/mine');
  assert.equal((await client.get(cronTabs('v1'), 'default', 'mine')).spec?.['replicas'], 4);
  await kubectl('patch', 'ct', 'mine', '--type=merge', '-p', '{"spec":{"image":"b"}}');
  await kubectl(
    'patch',
    'ct',
    'mine',
    '--type=json',
    '-p',
    '[{"op":"replace","path":"/spec/replicas","value":2}]',
  );
  const status = { status: { replicas: 2 }, spec: { replicas: 9 } };
  await client.patch(cronTabs('v1'), 'default', 'mine', 'merge', status, { subresource: 'status' });
  const patched = await client.get(cronTabs('v1'), 'default', 'mine');
  assert.deepEqual([patched.spec?.['replicas'], patched.status], [2, { replicas: 2 }]);
  await assert.rejects(
    client.patch(cronTabs('v1'), 'default', 'mine', 'strategic', { spec: { replicas: 3 } }),
    /media type|415/i,
  );
  await kubectl('label', 'ct', 'mine', 'app=a');
  assert.match(await kubectl('get', 'ct', '-l', 'app=a', '-o', 'name'), /mine/);

  const beta = await client.get(cronTabs('v1beta1'), 'default', 'mine');
  assert.equal(beta.apiVersion, `${group}/v1beta1`);
  await apply(cronTab('old', { cronSpec: '1 1 1 1 1' }, 'v1beta1'));
  const { items } = await client.list(cronTabs('v1'), { namespace: 'default' });
  assert.deepEqual(
    items.map(({ apiVersion }) => apiVersion),
    [`${group}/v1`, `${group}/v1`],
  );

  await kubectl('delete', 'crd', `crontabs.${group}`, '--timeout=60s');
  await assert.rejects(
    kubectl('get', 'ct'),
    /doesn't have a resource type|could not find the requested resource/,
  );
});

const refused = [
  {
    name: 'a rule',
    spec: { cronSpec: '1 1 1 1 1', tags: ['a', 'b', 'c'] },
    want: /spec: Invalid value: "?object"?: two tags at most/,
  },
  { name: 'a missing field', spec: {}, want: /spec.cronSpec: Required value/ },
  {
    name: 'a pattern',
    spec: { cronSpec: 'x' },
    want: /spec.cronSpec: Invalid value: "x": spec.cronSpec in body should match/,
  },
  {
    name: 'a maximum',
    spec: { cronSpec: '1 1 1 1 1', replicas: 11 },
    want: /spec.replicas in body should be less than or equal to 10/,
  },
  { name: 'a type', spec: { cronSpec: 1 }, want: /must be of type string: "integer"/ },
  {
    name: 'a set',
    spec: { cronSpec: '1 1 1 1 1', tags: ['a', 'a'] },
    want: /spec.tags\[1\]: Duplicate value: "a"/,
  },
  {
    name: 'an embedded object',
    spec: { cronSpec: '1 1 1 1 1', template: {} },
    want: /spec.template.kind: Required value/,
  },
];

test('custom resources: what the schema refuses, kubectl shows', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply } = cluster;
  await apply(definition());
  for (const { name, spec, want } of refused) {
    await assert.rejects(apply(cronTab('bad', spec)), want, name);
  }
  await assert.rejects(
    kubectl(
      'create',
      '--validate=strict',
      '-f',
      cluster.write(cronTab('bad', { cronSpec: '1 1 1 1 1', foo: 1 })),
    ),
    /unknown field "spec.foo"/,
  );
  const bad = structuredClone(definition()) as { spec: { versions: { schema: unknown }[] } };
  bad.spec.versions[0]!.schema = { openAPIV3Schema: { type: 'object', properties: { a: {} } } };
  await assert.rejects(
    apply(bad),
    /properties\[a\].type: Required value: must not be empty for specified object fields/,
  );
});

test('custom resources: owners, namespaces and finalizers work as for every kind', options, async () => {
  await using cluster = await startCluster();
  const { kubectl, apply, client } = cluster;
  await apply(definition(), { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await apply(cronTab('owner', { cronSpec: '1 1 1 1 1' }));
  const owner = await client.get(cronTabs('v1'), 'default', 'owner');
  const reference = { apiVersion: `${group}/v1`, kind: 'CronTab', name: 'owner', uid: owner.metadata?.uid };
  await apply(
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'owned', namespace: 'default', ownerReferences: [reference] },
    },
    { ...cronTab('there', { cronSpec: '1 1 1 1 1' }), metadata: { name: 'there', namespace: 'shop' } },
  );
  await kubectl('delete', 'ct', 'owner');
  await until(
    'the owned one goes',
    async () => !(await kubectl('get', 'configmaps', '-o', 'name')).includes('owned'),
  );
  await kubectl('delete', 'namespace', 'shop', '--timeout=60s');
  assert.deepEqual((await client.list(cronTabs('v1'))).items, []);
  await apply({
    ...cronTab('held', { cronSpec: '1 1 1 1 1' }),
    metadata: { name: 'held', namespace: 'default', finalizers: ['example.com/hold'] },
  });
  await kubectl('delete', 'crd', `crontabs.${group}`, '--wait=false');
  await until(
    'marked',
    async () =>
      (await client.get(cronTabs('v1'), 'default', 'held')).metadata?.deletionTimestamp !== undefined,
  );
  await assert.rejects(
    apply(cronTab('late', { cronSpec: '1 1 1 1 1' })),
    /create not allowed while custom resource definition is terminating/,
  );
  await client.patch(cronTabs('v1'), 'default', 'held', 'merge', { metadata: { finalizers: null } });
  await until(
    'the definition is gone',
    async () => !(await kubectl('get', 'crds', '-o', 'name')).includes('crontabs'),
  );
});

test('custom resources: every kubectl that is here', options, async () => {
  await using cluster = await startCluster();
  await cluster.apply(definition());
  await cluster.apply(cronTab('mine', { cronSpec: '1 1 1 1 1' }));
  const directory = '/usr/lib/google-cloud-sdk/bin';
  const found = existsSync(directory)
    ? readdirSync(directory).filter((name) => /^kubectl\.1\./.test(name))
    : [];
  for (const name of found) {
    const command = `${directory}/${name}`;
    const config = ['--kubeconfig', cluster.kubeconfig];
    assert.match(await runOk(command, [...config, 'get', 'crontabs']), /mine/, name);
    assert.match(await runOk(command, [...config, 'explain', 'crontabs']), /A schedule of ours/, name);
  }
});

function gadgetDefinition(): object {
  const port = {
    type: 'object',
    required: ['port'],
    properties: {
      port: { type: 'integer' },
      protocol: { type: 'string', default: 'TCP' },
      name: { type: 'string' },
    },
  };
  const properties = {
    ports: {
      type: 'array',
      description: 'Where it listens.',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['port', 'protocol'],
      items: port,
    },
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
    plain: { type: 'array', items: { type: 'string' } },
    limits: { type: 'object', additionalProperties: { type: 'string' } },
    whole: {
      type: 'object',
      'x-kubernetes-map-type': 'atomic',
      properties: { a: { type: 'string' }, b: { type: 'string' } },
    },
  };
  const openAPIV3Schema = { type: 'object', properties: { spec: { type: 'object', properties } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `gadgets.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'gadgets', kind: 'Gadget' },
      versions: [
        {
          ...{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } },
          selectableFields: [{ jsonPath: '.spec.whole.a' }],
        },
      ],
    },
  };
}

test(
  'custom resources: server-side apply shares keyed lists, sets and maps; the rest is owned whole',
  options,
  async () => {
    await using cluster = await startCluster();
    const { kubectl } = cluster;
    await cluster.apply(gadgetDefinition());
    const applyAs = async (manager: string, spec: object, ...flags: readonly string[]): Promise<string> => {
      const metadata = { name: 'g', namespace: 'default' };
      const file = cluster.write({ apiVersion: `${group}/v1`, kind: 'Gadget', metadata, spec });
      return kubectl('apply', '--server-side', `--field-manager=${manager}`, ...flags, '-f', file);
    };
    const spec = async (): Promise<unknown> =>
      JSON.parse(await kubectl('get', 'gadget', 'g', '-o', 'jsonpath={.spec}'));
    await applyAs('one', { ports: [{ port: 80, name: 'web' }], tags: ['a'], limits: { cpu: '1' } });
    await applyAs('two', { ports: [{ port: 81, protocol: 'UDP' }], tags: ['b'], limits: { memory: '2' } });
    assert.deepEqual(await spec(), {
      ports: [
        { port: 80, protocol: 'TCP', name: 'web' },
        { port: 81, protocol: 'UDP' },
      ],
      tags: ['a', 'b'],
      limits: { cpu: '1', memory: '2' },
    });
    await assert.rejects(
      applyAs('two', { ports: [{ port: 80, name: 'other' }] }),
      /conflict with "one": .spec.ports\[port=80,protocol="TCP"\].name/,
    );
    await applyAs('one', { tags: ['a'], plain: ['x'], whole: { a: '1' } });
    await assert.rejects(applyAs('two', { plain: ['y'] }), /conflict with "one": .spec.plain/);
    await assert.rejects(applyAs('two', { whole: { b: '2' } }), /conflict with "one": .spec.whole/);
    await applyAs('two', { whole: { b: '2' } }, '--force-conflicts');
    assert.deepEqual(await spec(), { plain: ['x'], tags: ['a'], whole: { b: '2' } });
    await assert.rejects(applyAs('two', { tags: ['c', 'c'] }), /duplicate entries|Duplicate value/);
    assert.match(await kubectl('explain', 'gadget.spec.ports'), /Where it listens/);
    assert.equal(await kubectl('get', 'gadgets', '--field-selector=spec.whole.a=1', '-o', 'name'), '');
    await applyAs('two', { whole: { a: '1' } });
    assert.match(
      await kubectl('get', 'gadgets', '--field-selector=spec.whole.a=1', '-o', 'name'),
      /gadget.stable.example.com\/g/,
    );
  },
);

test('custom resources: a stricter schema does not lock objects that are there', options, async () => {
  await using cluster = await startCluster();
  const { kubectl } = cluster;
  await cluster.apply(definition());
  await cluster.apply(cronTab('mine', { cronSpec: '1 1 1 1 1', replicas: 9, tags: ['a', 'b'] }));
  const strict = structuredClone(definition()) as {
    spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: Record<string, unknown> } } } }[] };
  };
  for (const { schema } of strict.spec.versions) {
    const { spec } = schema.openAPIV3Schema.properties;
    const { properties } = spec as { properties: Record<string, object> };
    properties['replicas'] = { type: 'integer', maximum: 5, default: 1 };
    properties['tags'] = {
      ...properties['tags'],
      'x-kubernetes-validations': [
        { rule: 'self.size() < 2', message: 'one tag at most' },
        {
          rule: '!oldSelf.hasValue() || oldSelf.value().all(tag, tag in self)',
          optionalOldSelf: true,
          message: 'tags stay',
        },
      ],
    };
  }
  await cluster.apply(strict);
  await kubectl('patch', 'ct', 'mine', '--type=merge', '-p', '{"spec":{"image":"other"}}');
  const patch = (spec: object): Promise<string> =>
    kubectl('patch', 'ct', 'mine', '--type=merge', '-p', JSON.stringify({ spec }));
  await assert.rejects(patch({ replicas: 8 }), /spec.replicas in body should be less than or equal to 5/);
  await assert.rejects(patch({ tags: ['b', 'a'] }), /one tag at most/);
  await assert.rejects(patch({ tags: ['a'] }), /tags stay/);
  await patch({ replicas: 5 });
  await assert.rejects(
    cluster.apply(cronTab('new', { cronSpec: '1 1 1 1 1', replicas: 9 })),
    /less than or equal to 5/,
  );
});
