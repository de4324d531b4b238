import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { numberAt, objectAt, stringAt } from '../../src/api/fields.ts';
import type { JsonObject } from '../../src/api/object.ts';
import { endpointSlices, services } from '../../src/api/resource.ts';
import { answerBytesMax } from '../../src/apiserver/webhooks/client.ts';
import type { ApiClient } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { type Kubectl, kubectlOf } from '../support/kubectl.ts';
import { enterNewNetworkNamespace } from '../support/namespace.ts';
import { runOk } from '../support/shell.ts';
import { patchAnswer, reviewAnswer, startWebhook, type TestWebhook } from '../support/webhook.ts';

/**
 * Admission webhooks as kubectl meets them: a real HTTPS server on loopback, and one behind a Service at a Pod's address
 * in a network namespace of this process's own.
 */

const podAddress = '10.42.9.6';
const [kubectl] = findKubectls().slice(-1);
const missing = kubectl === undefined ? 'no kubectl on PATH' : await enterNewNetworkNamespace();
const skip = missing ?? false;

let server: TestApiServer;
let client: ApiClient;
let k: Kubectl;
let webhook: TestWebhook;

before(async () => {
  if (skip !== false) return;
  await runOk('ip', ['link', 'set', 'lo', 'up']);
  await runOk('ip', ['address', 'add', `${podAddress}/32`, 'dev', 'lo']);
  server = await startApiServer();
  const kubeconfig = server.kubeconfig('admin', server.admin);
  k = kubectlOf(kubectl?.path ?? '', kubeconfig, server.folder);
  client = createApiClient(await loadKubeconfig(kubeconfig));
  webhook = await startWebhook(server.pki);
});
after(async () => {
  if (skip !== false) return;
  await webhook.stop();
  client.close();
  await server.stop();
});
afterEach(async () => {
  if (skip !== false) return;
  await ok('delete mutatingwebhookconfigurations,validatingwebhookconfigurations --all');
  await ok('delete configmaps,deployments -l test=webhooks');
  webhook.calls.length = 0;
});

const ok = (line: string): Promise<string> => k.ok(line);
const fails = (line: string): Promise<string> => k.fails(line);
const file = (object: object): string => k.file(object);

type Entry = Readonly<Record<string, unknown>> & { readonly name: string; readonly path: string };

/** Configures webhooks at paths of the server; rules default to ConfigMaps, all operations. */
async function configure(
  kind: 'Mutating' | 'Validating',
  name: string,
  ...entries: readonly Entry[]
): Promise<void> {
  const webhooks = entries.map(({ path, ...rest }) => ({
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    clientConfig: { url: webhook.url(path), caBundle: webhook.caBundle },
    rules: [rule('', 'configmaps')],
    ...rest,
  }));
  await ok(`apply -f ${file({ ...identity(kind), metadata: { name }, webhooks })}`);
}

function identity(kind: 'Mutating' | 'Validating'): object {
  return { apiVersion: 'admissionregistration.k8s.io/v1', kind: `${kind}WebhookConfiguration` };
}

function rule(group: string, resource: string, operations: readonly string[] = ['*']): object {
  return { operations, apiGroups: [group], apiVersions: ['*'], resources: [resource] };
}

function settings(name: string, data: object = {}, labels: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default', labels: { test: 'webhooks', ...labels } },
    data,
  };
}

const calledFor = (path: string): readonly JsonObject[] =>
  webhook.calls.filter((call) => call.path === path).map(({ request }) => request);

test('webhooks: defaults and mistakes of a configuration', { skip }, async () => {
  await configure('Mutating', 'defaults', { name: 'a.example.com', path: '/a' });
  const stored = JSON.parse(await ok('get mutatingwebhookconfiguration defaults -o json')) as {
    webhooks: Record<string, unknown>[];
  };
  const { failurePolicy, matchPolicy, timeoutSeconds, reinvocationPolicy, namespaceSelector, rules } =
    stored.webhooks[0] ?? {};
  assert.deepEqual(
    { failurePolicy, matchPolicy, timeoutSeconds, reinvocationPolicy, namespaceSelector, rules },
    {
      failurePolicy: 'Fail',
      matchPolicy: 'Equivalent',
      timeoutSeconds: 10,
      reinvocationPolicy: 'Never',
      namespaceSelector: {},
      rules: [{ ...rule('', 'configmaps'), scope: '*' }],
    },
  );
  assert.match(await ok('get mutatingwebhookconfiguration defaults'), /NAME +WEBHOOKS +AGE\ndefaults +1 /);
  const bad = {
    ...identity('Validating'),
    metadata: { name: 'bad' },
    webhooks: [
      {
        name: 'short',
        sideEffects: 'Some',
        timeoutSeconds: 31,
        clientConfig: { url: 'http://x/y?z=1' },
        rules: [
          {
            operations: ['*', 'CREATE'],
            apiGroups: [''],
            apiVersions: ['v1'],
            resources: ['pods/*', 'pods/log'],
          },
        ],
        matchConditions: [{ name: 'c', expression: 'object.' }],
        admissionReviewVersions: ['v7'],
      },
    ],
  };
  const refusal = await fails(`create -f ${file(bad)}`);
  for (const part of [
    /webhooks\[0\].name: Invalid value: "short": should be a domain with at least three segments/,
    /webhooks\[0\].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"/,
    /webhooks\[0\].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds/,
    /'https' is the only allowed URL scheme/,
    /query parameters are not permitted in the URL/,
    /if '\*' is present, must not specify operations/,
    /if 'pods\/\*' is present, must not specify pods\/log/,
    /matchConditions\[0\].expression: Invalid value: "object.": compilation failed/,
    /must include at least one of v1, v1beta1/,
  ]) {
    assert.match(refusal, part);
  }
});

test('webhooks: a denial, a warning and a patch, as kubectl shows them', { skip }, async () => {
  webhook.handle('/deny', (request) =>
    reviewAnswer(request, {
      allowed: request['operation'] === 'CREATE' ? (request['name'] as string) !== 'bad' : true,
      warnings: [`seen ${stringAt(request, 'operation')}`],
      auditAnnotations: { checked: 'yes' },
      status: { code: 403, reason: 'Forbidden', message: 'no such names' },
    }),
  );
  webhook.handle('/patch', (request) =>
    patchAnswer(
      request,
      request['operation'] === 'DELETE' ? [] : [{ op: 'add', path: '/metadata/labels/by', value: 'webhook' }],
    ),
  );
  await configure('Validating', 'v', { name: 'deny.example.com', path: '/deny' });
  await configure('Mutating', 'm', {
    name: 'patch.example.com',
    path: '/patch',
    rules: [rule('', 'configmaps', ['CREATE', 'UPDATE'])],
  });
  assert.match(
    await fails(`create -f ${file(settings('bad'))}`),
    /^Warning: seen CREATE\nError from server \(Forbidden\): error when creating .*: admission webhook "deny.example.com" denied the request: no such names$/m,
  );
  await ok(`create -f ${file(settings('good'))}`);
  assert.equal(await ok(`get configmap good -o 'jsonpath={.metadata.labels.by}'`), 'webhook');
  await ok('label configmap good by=me --overwrite');
  assert.equal(await ok(`get configmap good -o 'jsonpath={.metadata.labels.by}'`), 'webhook');
  await ok('delete configmap good');
  const [created] = calledFor('/patch');
  assert.equal(created?.['oldObject'], null);
  const metadata = objectAt(created, 'object', 'metadata');
  assert.ok(metadata !== undefined && !('uid' in metadata) && !('creationTimestamp' in metadata));
  const operations = calledFor('/deny').map((request) => [
    request['operation'],
    request['object'] === null,
    request['oldObject'] === null,
    (request['userInfo'] as JsonObject)['username'],
  ]);
  assert.deepEqual(operations, [
    ['CREATE', false, true, 'fairlead-admin'],
    ['CREATE', false, true, 'fairlead-admin'],
    ['UPDATE', false, false, 'fairlead-admin'],
    ['DELETE', true, false, 'fairlead-admin'],
  ]);
});

type Failure = {
  readonly name: string;
  readonly answer: () => JsonObject | undefined;
  readonly want: RegExp;
  /** @default 30 */
  readonly timeoutSeconds?: number;
};

const failures: readonly Failure[] = [
  {
    name: 'wrong uid',
    answer: (): JsonObject => reviewAnswer({ uid: 'x' }, { allowed: true }),
    want: /received invalid webhook response: expected response.uid=".+", got "x"/,
  },
  {
    name: 'no review',
    answer: (): JsonObject => ({ kind: 'Pod' }),
    want: /expected webhook response of admission.k8s.io\/v1, Kind=AdmissionReview, got , Kind=Pod/,
  },
  {
    name: 'no response',
    answer: (): JsonObject => ({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }),
    want: /webhook response was absent/,
  },
  { name: 'never an answer', answer: () => undefined, want: /context deadline exceeded/, timeoutSeconds: 1 },
  {
    name: 'an answer that is too large',
    answer: (): JsonObject => ({ padding: 'x'.repeat(answerBytesMax) }),
    want: new RegExp(`the answer is larger than ${answerBytesMax} bytes`),
  },
];

for (const { name, answer, want, timeoutSeconds = 30 } of failures) {
  test(`webhooks: ${name}: Fail refuses and Ignore lets pass`, { skip }, async () => {
    webhook.handle('/broken', answer);
    const broken = { name: 'broken.example.com', path: '/broken', timeoutSeconds };
    await configure('Validating', 'v', broken);
    const refusal = await fails(`create -f ${file(settings('a'))}`);
    assert.match(refusal, /Internal error occurred: failed calling webhook "broken.example.com": /);
    assert.match(refusal, want);
    await configure('Validating', 'v', { ...broken, failurePolicy: 'Ignore' });
    await ok(`create -f ${file(settings('a'))}`);
  });
}

test('webhooks: a certificate of another authority, and a server that is gone', { skip }, async () => {
  webhook.handle('/fine', (request) => reviewAnswer(request, { allowed: true }));
  const other = Buffer.from((await server.pki.serving('other')).certificate).toString('base64');
  const entry = { name: 'tls.example.com', path: '/fine' };
  await configure('Validating', 'v', {
    ...entry,
    clientConfig: { url: webhook.url('/fine'), caBundle: other },
  });
  assert.match(
    await fails(`create -f ${file(settings('a'))}`),
    /failed calling webhook "tls.example.com": failed to call webhook: Post "https:\/\/127.0.0.1:\d+\/fine\?timeout=10s": .*certificate/,
  );
  await configure('Validating', 'v', {
    ...entry,
    clientConfig: { url: 'https://127.0.0.1:1/x', caBundle: other },
  });
  assert.match(await fails(`create -f ${file(settings('a'))}`), /ECONNREFUSED/);
  await configure('Validating', 'v', { ...entry, path: '/none' });
  assert.match(
    await fails(`create -f ${file(settings('a'))}`),
    /the server could not find the requested resource/,
  );
});

test('webhooks: behind a Service, with the name of the Service in the certificate', { skip }, async () => {
  const behind = await startWebhook(server.pki, { host: podAddress, names: ['hook.default.svc'] });
  behind.handle('/check', (request) => reviewAnswer(request, { allowed: false }));
  await client.create(services, {
    metadata: { namespace: 'default', name: 'hook' },
    spec: { ports: [{ port: 443, targetPort: behind.port }] },
  });
  const clientConfig = {
    service: { namespace: 'default', name: 'hook', path: '/check' },
    caBundle: behind.caBundle,
  };
  await configure('Validating', 'v', { name: 'svc.example.com', path: '', clientConfig });
  assert.match(
    await fails(`create -f ${file(settings('a'))}`),
    /Post "https:\/\/hook.default.svc:443\/check\?timeout=10s": no endpoints available for service "hook"/,
  );
  await client.create(endpointSlices, {
    metadata: { namespace: 'default', name: 'hook', labels: { 'kubernetes.io/service-name': 'hook' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: behind.port, protocol: 'TCP' }],
    endpoints: [{ addresses: [podAddress] }],
  });
  assert.match(
    await fails(`create -f ${file(settings('a'))}`),
    /admission webhook "svc.example.com" denied the request without explanation/,
  );
  await behind.stop();
});

test('webhooks: selectors, match conditions, scope and dry run', { skip }, async () => {
  webhook.handle('/deny', (request) => reviewAnswer(request, { allowed: false }));
  const deny = { name: 'deny.example.com', path: '/deny' };
  await configure('Validating', 'v', { ...deny, objectSelector: { matchLabels: { tier: 'x' } } });
  await ok(`create -f ${file(settings('a'))}`);
  assert.match(await fails('label configmap a tier=x'), /denied the request/);

  await ok('create namespace strict');
  const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': 'strict' } };
  await configure('Validating', 'v', { ...deny, namespaceSelector });
  await ok('label configmap a tier=x');
  assert.match(await fails('create configmap b -n strict'), /denied the request/);

  const expression = `request.operation != 'UPDATE' || oldObject.metadata.labels.tier != object.metadata.labels.tier`;
  await configure('Validating', 'v', { ...deny, matchConditions: [{ name: 'tier', expression }] });
  await ok('annotate configmap a note=1');
  assert.match(await fails('label configmap a tier=y --overwrite'), /denied the request/);
  await configure('Validating', 'v', {
    ...deny,
    matchConditions: [{ name: 'odd', expression: 'object.nothing.here' }],
  });
  assert.match(
    await fails('annotate configmap a note=2 --overwrite'),
    /forbidden: webhook "deny.example.com": No such key/,
  );

  await configure('Validating', 'v', { ...deny, rules: [{ ...rule('*', '*'), scope: 'Cluster' }] });
  await ok('annotate configmap a note=3 --overwrite');
  assert.match(await fails('create namespace other'), /denied the request/);

  await configure('Validating', 'v', deny);
  assert.match(await fails('annotate configmap a note=4 --overwrite --dry-run=server'), /denied the request/);
  assert.equal(calledFor('/deny').at(-1)?.['dryRun'], true);
  await ok('delete validatingwebhookconfigurations --all');
  await ok('delete namespace strict --wait=false');
});

test('webhooks: in the order of names, and again where a later one changed the object', {
  skip,
}, async () => {
  const append = (text: string) => (request: JsonObject) => {
    const { data } = request['object'] as { data?: { trace?: string } };
    return patchAnswer(request, [{ op: 'add', path: '/data/trace', value: `${data?.trace ?? ''}${text}` }]);
  };
  for (const letter of ['a', 'b', 'c']) webhook.handle(`/${letter}`, append(letter));
  const rules = [rule('', 'configmaps', ['CREATE'])];
  await configure(
    'Mutating',
    'z-first-of-two',
    { name: 'b.example.com', path: '/b', rules },
    { name: 'c.example.com', path: '/c', rules },
  );
  await configure('Mutating', 'a-before', {
    name: 'a.example.com',
    path: '/a',
    rules,
    reinvocationPolicy: 'IfNeeded',
  });
  await ok(`create -f ${file(settings('traced', { trace: '>' }))}`);
  assert.equal(await ok(`get configmap traced -o 'jsonpath={.data.trace}'`), '>abca');
});

test('webhooks: a patch is given defaults, checked, and cannot leave its bounds', { skip }, async () => {
  let patch: object[] = [];
  webhook.handle('/patch', (request) => patchAnswer(request, patch as never));
  await configure('Mutating', 'm', {
    name: 'patch.example.com',
    path: '/patch',
    rules: [rule('apps', 'deployments', ['CREATE'])],
  });
  const create = 'create deployment web --image=caddy';
  const containers = '/spec/template/spec/containers/-';
  patch = [{ op: 'add', path: containers, value: { name: 'side', image: 'envoy' } }];
  await ok(create);
  assert.equal(
    await ok(`get deployment web -o 'jsonpath={.spec.template.spec.containers[1].imagePullPolicy}'`),
    'Always',
  );
  await ok('delete deployment web');
  patch = [{ op: 'add', path: containers, value: { name: 'Side', image: 'envoy' } }];
  assert.match(await fails(create), /spec.template.spec.containers\[1\].name: Invalid value: "Side"/);
  patch = [{ op: 'replace', path: '/spec/replicas', value: 'many' }];
  assert.match(await fails(create), /a webhook made an object that cannot be read/);
  patch = [{ op: 'remove', path: '/spec/none' }];
  assert.match(await fails(create), /returned a patch that cannot be applied/);
  patch = [{ op: 'add', path: '/metadata/uid', value: 'mine' }];
  await ok(create);
  assert.notEqual(await ok(`get deployment web -o 'jsonpath={.metadata.uid}'`), 'mine');
  await ok('delete deployment web');
});

test('webhooks: subresources, connections, deletions of many, and never their own configuration', {
  skip,
}, async () => {
  const allow = (request: JsonObject): JsonObject => reviewAnswer(request, { allowed: true });
  webhook.handle('/all', allow);
  await ok('create deployment web --image=caddy --replicas=2');
  await ok('run shell --image=alpine');
  await configure('Validating', 'v', {
    name: 'all.example.com',
    path: '/all',
    rules: [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }],
  });
  await ok('scale deployment web --replicas=3');
  await fails('exec shell -- true');
  await ok('delete deployment web');
  await ok(`create -f ${file(settings('one'))}`);
  await ok(`create -f ${file(settings('two'))}`);
  await ok('delete configmap -l test=webhooks');
  await ok('auth can-i get pods');
  await ok('delete pod shell --now');
  const seen = webhook.calls.map(({ request }) => {
    const { resource } = request['resource'] as { resource: string };
    const sub = request['subResource'] === undefined ? '' : `/${stringAt(request, 'subResource')}`;
    const { kind } = request['kind'] as { kind: string };
    return `${stringAt(request, 'operation')} ${resource}${sub} ${kind} ${stringAt(request, 'name')}`.trim();
  });
  assert.deepEqual(
    [...new Set(seen)].filter((line) => !line.includes('leases') && !line.includes('events')),
    [
      'UPDATE deployments/scale Scale web',
      'CONNECT pods/exec PodExecOptions shell',
      'DELETE deployments Deployment web',
      'CREATE configmaps ConfigMap one',
      'CREATE configmaps ConfigMap two',
      'DELETE configmaps ConfigMap one',
      'DELETE configmaps ConfigMap two',
      'CREATE selfsubjectaccessreviews SelfSubjectAccessReview',
      'DELETE pods Pod shell',
    ],
  );
  const connect = calledFor('/all').find((request) => request['operation'] === 'CONNECT');
  assert.deepEqual(objectAt(connect, 'object')?.['command'], ['true']);
  webhook.calls.length = 0;
  await ok('annotate validatingwebhookconfiguration v note=1');
  assert.deepEqual(webhook.calls, []);
});

test('webhooks: an equivalent resource is shown in the form of the rule', { skip }, async () => {
  webhook.handle('/event', (request) => reviewAnswer(request, { allowed: true }));
  await configure('Validating', 'v', {
    name: 'event.example.com',
    path: '/event',
    rules: [
      {
        operations: ['CREATE'],
        apiGroups: ['autoscaling'],
        apiVersions: ['v1'],
        resources: ['horizontalpodautoscalers'],
      },
    ],
  });
  const scaler = {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name: 'web', namespace: 'default' },
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      metrics: [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } },
        },
      ],
    },
  };
  await ok(`create -f ${file(scaler)}`);
  const [request] = calledFor('/event');
  assert.deepEqual(
    [request?.['kind'], request?.['requestKind']],
    [
      { group: 'autoscaling', version: 'v1', kind: 'HorizontalPodAutoscaler' },
      { group: 'autoscaling', version: 'v2', kind: 'HorizontalPodAutoscaler' },
    ],
  );
  assert.equal(numberAt(request, 'object', 'spec', 'targetCPUUtilizationPercentage'), 70);
  await ok('delete hpa web');
});

test('webhooks: bodies of subresources, and every way to connect', { skip }, async () => {
  webhook.handle('/all', (request) => reviewAnswer(request, { allowed: true }));
  webhook.handle('/two', (request) =>
    patchAnswer(request, [{ op: 'replace', path: '/spec/replicas', value: 2 }]),
  );
  await ok('create deployment web --image=caddy --replicas=1');
  await ok('run shell --image=alpine');
  await configure('Validating', 'v', {
    name: 'all.example.com',
    path: '/all',
    rules: [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }],
  });
  await configure('Mutating', 'm', {
    name: 'two.example.com',
    path: '/two',
    rules: [rule('apps', 'deployments/scale')],
  });
  await ok('scale deployment web --replicas=7');
  assert.equal(await ok(`get deployment web -o 'jsonpath={.spec.replicas}'`), '2');
  await ok('create token default');
  await ok('patch deployment web --subresource=status --type=merge -p {"status":{"replicas":2}}');
  await fails('get --raw /api/v1/namespaces/default/pods/shell/proxy/x/y');
  await fails('attach shell');
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: 'shell', namespace: 'default' },
  };
  await ok(`create --raw /api/v1/namespaces/default/pods/shell/eviction -f ${file(eviction)}`);
  const seen = new Map(
    calledFor('/all').map((request) => [
      `${stringAt(request, 'operation')} ${stringAt(request, 'resource', 'resource')}/${stringAt(request, 'subResource')}`,
      request,
    ]),
  );
  const kindOf = (what: string): string => stringAt(seen.get(what), 'kind', 'kind');
  assert.deepEqual(
    [
      'UPDATE deployments/scale',
      'CREATE serviceaccounts/token',
      'UPDATE deployments/status',
      'CONNECT pods/proxy',
      'CONNECT pods/attach',
      'CREATE pods/eviction',
    ].map(kindOf),
    ['Scale', 'TokenRequest', 'Deployment', 'PodProxyOptions', 'PodAttachOptions', 'Eviction'],
  );
  assert.equal(stringAt(seen.get('CONNECT pods/proxy'), 'object', 'path'), '/x/y');
  assert.equal(numberAt(seen.get('UPDATE deployments/scale'), 'object', 'spec', 'replicas'), 2);
  assert.equal(numberAt(seen.get('UPDATE deployments/scale'), 'oldObject', 'spec', 'replicas'), 1);
  assert.ok(!seen.has('DELETE pods/'), 'an eviction is judged as such');
  await ok('delete deployment web');
});
