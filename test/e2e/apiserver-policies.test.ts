import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { parseAuditPolicy } from '../../src/apiserver/audit/policy.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { type Kubectl, kubectlOf } from '../support/kubectl.ts';
import { eventually } from '../support/shell.ts';

/** ValidatingAdmissionPolicies as kubectl meets them. */

const [found] = findKubectls().slice(-1);
const skip = found === undefined ? 'no kubectl on PATH' : false;

let server: TestApiServer;
let k: Kubectl;

before(async () => {
  if (skip !== false) return;
  const auditPolicy = parseAuditPolicy({
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitManagedFields: true,
    rules: [
      { level: 'RequestResponse', resources: [{ group: 'apps', resources: ['deployments'] }] },
      { level: 'Metadata', users: ['eve'] },
    ],
  });
  assert.ok('rules' in auditPolicy);
  server = await startApiServer({ auditPolicy });
  k = kubectlOf(found?.path ?? '', server.kubeconfig('admin', server.admin), server.folder);
});
after(async () => {
  if (skip === false) await server.stop();
});
afterEach(async () => {
  if (skip !== false) return;
  await k.ok('delete validatingadmissionpolicies,validatingadmissionpolicybindings --all');
  await k.ok('delete mutatingadmissionpolicies,mutatingadmissionpolicybindings --all');
  await k.ok('delete deployments --all');
  await k.ok('delete configmaps -l test=policies');
});

const identity = { apiVersion: 'admissionregistration.k8s.io/v1' };

function policy(spec: object, name = 'replicas'): object {
  return {
    ...identity,
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name },
    spec: {
      matchConstraints: {
        resourceRules: [
          {
            apiGroups: ['apps'],
            apiVersions: ['v1'],
            operations: ['CREATE', 'UPDATE'],
            resources: ['deployments'],
          },
        ],
      },
      ...spec,
    },
  };
}

function binding(spec: object = {}, name = 'everywhere'): object {
  return {
    ...identity,
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name },
    spec: { policyName: 'replicas', validationActions: ['Deny'], ...spec },
  };
}

async function apply(...objects: readonly object[]): Promise<void> {
  await k.ok(`apply -f ${k.file(...objects)}`);
}

const few = { expression: 'object.spec.replicas <= 5' };
const create = (replicas: number, name = 'web'): string =>
  `create deployment ${name} --image=caddy --replicas=${replicas}`;

test('policies: a denial as kubectl shows it, from the binding on until it is gone', { skip }, async () => {
  await apply(policy({ validations: [few] }));
  await k.ok(create(6, 'before'));
  await apply(binding());
  assert.match(
    await k.fails(create(6)),
    /deployments.apps "web" is forbidden: ValidatingAdmissionPolicy 'replicas' with binding 'everywhere' denied request: failed expression: object.spec.replicas <= 5|The deployments "web" is invalid: .*ValidatingAdmissionPolicy 'replicas' with binding 'everywhere' denied request: failed expression: object.spec.replicas <= 5/,
  );
  await k.ok(create(5));
  assert.match(await k.fails('patch deployment web -p {"spec":{"replicas":7}}'), /denied request/);
  await k.ok('scale deployment web --replicas=7'); // the policy is not about the subresource
  assert.match(
    await k.ok('get validatingadmissionpolicies'),
    /NAME +VALIDATIONS +PARAMKIND +AGE\nreplicas +1 +<unset> /,
  );
  assert.match(
    await k.ok('get validatingadmissionpolicybindings'),
    /NAME +POLICYNAME +PARAMREF +AGE\neverywhere +replicas +<unset> /,
  );
  assert.equal(
    await k.ok(
      `get validatingadmissionpolicy replicas -o 'jsonpath={.metadata.generation} {.status.observedGeneration}'`,
    ),
    '1 1',
  );
  await apply(policy({ validations: [{ expression: 'object.spec.replicas <= 8' }] }));
  await k.ok('annotate deployment web a=b');
  assert.equal(
    await k.ok(`get validatingadmissionpolicy replicas -o 'jsonpath={.status.observedGeneration}'`),
    '2',
  );
  await k.ok('delete validatingadmissionpolicybinding everywhere');
  await k.ok(create(9, 'after'));
});

test('policies: an expression that cannot work for the kind is told in the status, until it is mended', {
  skip,
}, async () => {
  const told = (): Promise<string> => k.ok('get validatingadmissionpolicy replicas -o jsonpath={.status}');
  await apply(policy({ validations: [{ expression: 'object.spec.replica <= 5' }] }));
  const { observedGeneration, typeChecking } = JSON.parse(await told()) as {
    observedGeneration: number;
    typeChecking: { expressionWarnings: { fieldRef: string; warning: string }[] };
  };
  assert.equal(observedGeneration, 1);
  const [warning] = typeChecking.expressionWarnings;
  assert.equal(warning?.fieldRef, 'spec.validations[0].expression');
  assert.match(warning?.warning ?? '', /^apps\/v1, Kind=Deployment: ERROR: .*undefined field 'replica'/);
  await apply(policy({ validations: [few] }));
  assert.deepEqual(JSON.parse(await told()), { observedGeneration: 2, typeChecking: {} });
});

type AuditEvent = {
  readonly stage: string;
  readonly verb: string;
  readonly level: string;
  readonly auditID: string;
  readonly user: { readonly username: string };
  readonly impersonatedUser?: { readonly username: string; readonly groups: readonly string[] };
  readonly objectRef?: Readonly<Record<string, string>>;
  readonly responseStatus?: { readonly code: number; readonly reason?: string };
  readonly requestObject?: { readonly spec: { readonly replicas: number } };
  readonly responseObject?: { readonly metadata: object; readonly spec: { readonly replicas: number } };
  readonly annotations?: Readonly<Record<string, string>>;
};

async function auditEvents(isWanted: (event: AuditEvent) => boolean): Promise<readonly AuditEvent[]> {
  return eventually(async () => {
    const lines = (await readFile(join(server.folder, 'audit.log'), 'utf8')).trim().split('\n');
    const events = lines.map((line) => JSON.parse(line) as AuditEvent).filter(isWanted);
    assert.ok(events.some(({ stage }) => stage === 'ResponseComplete'));
    return events;
  });
}

test('audit: what Audit bindings would have refused is in the log with the objects, and nobody is refused', {
  skip,
}, async () => {
  await apply(
    policy({
      validations: [few],
      auditAnnotations: [{ key: 'count', valueExpression: "'wants ' + string(object.spec.replicas)" }],
    }),
    binding({ validationActions: ['Audit'] }),
  );
  await k.ok(create(6, 'many'));
  const events = await auditEvents(
    ({ verb, objectRef }) => verb === 'create' && objectRef?.['name'] === 'many',
  );
  // kubectl names the object in the body alone, which is not read when the request has just come.
  assert.deepEqual(
    events.map(({ stage }) => stage),
    ['ResponseComplete'],
  );
  const [event] = events;
  assert.deepEqual(event?.objectRef, {
    resource: 'deployments',
    namespace: 'default',
    name: 'many',
    apiGroup: 'apps',
    apiVersion: 'v1',
  });
  assert.equal(event?.responseStatus?.code, 201);
  assert.equal(event?.requestObject?.spec.replicas, 6);
  assert.equal(event?.responseObject?.spec.replicas, 6);
  assert.ok(!('managedFields' in (event?.responseObject?.metadata ?? {})), 'managedFields are left out');
  const { annotations = {} } = event ?? {};
  assert.equal(annotations['authorization.k8s.io/decision'], 'allow');
  assert.equal(annotations['replicas/count'], 'wants 6');
  assert.deepEqual(JSON.parse(annotations['validation.policy.admission.k8s.io/validation_failure'] ?? ''), [
    {
      message: 'failed expression: object.spec.replicas <= 5',
      policy: 'replicas',
      binding: 'everywhere',
      expressionIndex: 0,
      validationActions: ['Audit'],
    },
  ]);
});

test('audit: a refusal is there with who asked, and as whom; a stream when it begins, too', {
  skip,
}, async () => {
  await k.fails('get deployments --as=eve --as-group=dev');
  const [done] = await auditEvents(({ impersonatedUser }) => impersonatedUser?.username === 'eve');
  assert.equal(done?.stage, 'ResponseComplete', 'as whom is not known when a request has just come');
  assert.equal(done.user.username, 'fairlead-admin');
  assert.deepEqual(done.impersonatedUser?.groups, ['dev', 'system:authenticated']);
  assert.deepEqual([done.responseStatus?.code, done.responseStatus?.reason], [403, 'Forbidden']);
  assert.equal(done.annotations?.['authorization.k8s.io/decision'], 'forbid');
  await k.ok('get --raw /apis/apps/v1/deployments?watch=1&timeoutSeconds=1');
  const watch = await auditEvents(({ verb }) => verb === 'watch');
  assert.deepEqual(
    watch.map(({ stage }) => stage),
    ['RequestReceived', 'ResponseStarted', 'ResponseComplete'],
  );
  assert.equal(new Set(watch.map(({ auditID }) => auditID)).size, 1);
});

test('policies: messages, reasons, variables and warnings', { skip }, async () => {
  const variables = [
    { name: 'replicas', expression: 'object.spec.replicas' },
    { name: 'tooMany', expression: 'variables.replicas > 5' },
  ];
  await apply(
    policy({
      variables,
      validations: [
        {
          expression: '!variables.tooMany',
          messageExpression: "'at most 5, not ' + string(variables.replicas)",
          message: 'at most 5',
          reason: 'Forbidden',
        },
      ],
    }),
    binding(),
  );
  assert.match(await k.fails(create(6)), /"web" is forbidden: .*denied request: at most 5, not 6/);
  await apply(
    policy({
      variables,
      validations: [
        { expression: '!variables.tooMany', messageExpression: 'object.none', message: 'at most 5' },
      ],
    }),
  );
  assert.match(await k.fails(create(6)), /denied request: at most 5\n/);
  await apply(binding({ validationActions: ['Warn', 'Audit'] }));
  assert.match(
    await k.warnings(create(6)),
    /Warning: Validation failed for ValidatingAdmissionPolicy 'replicas' with binding 'everywhere': at most 5/,
  );
});

test('policies: parameters by name and by selector', { skip }, async () => {
  await apply(
    policy({
      paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
      validations: [
        {
          expression: 'object.spec.replicas <= int(params.data.most)',
          messageExpression: "'at most ' + params.data.most",
        },
      ],
    }),
    binding({ paramRef: { name: 'bounds', parameterNotFoundAction: 'Deny' } }),
  );
  assert.match(
    await k.fails(create(1)),
    /failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction/,
  );
  await apply(binding({ paramRef: { name: 'bounds', parameterNotFoundAction: 'Allow' } }));
  await k.ok(create(9));
  const bounds = (name: string, most: string, zone: string): object => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, labels: { test: 'policies', zone } },
    data: { most },
  });
  await apply(bounds('bounds', '3', 'a'), bounds('lower', '2', 'a'), bounds('lowest', '1', 'b'));
  await k.ok(create(3, 'three'));
  assert.match(await k.fails(create(4, 'four')), /denied request: at most 3/);
  const selector = { matchLabels: { zone: 'a' } };
  await apply(binding({ paramRef: { selector, parameterNotFoundAction: 'Deny' } }));
  assert.match(await k.fails(create(3, 'again')), /denied request: at most 2/);
  await k.ok(create(2, 'two'));
});

test('policies: errors follow failurePolicy; match conditions; who asks; the namespace', {
  skip,
}, async () => {
  const broken = { validations: [{ expression: 'object.spec.nothing.here == 1' }] };
  await apply(policy(broken), binding());
  assert.match(
    await k.fails(create(1)),
    /denied request: expression 'object.spec.nothing.here == 1' resulted in error: No such key: nothing/,
  );
  await apply(policy({ ...broken, failurePolicy: 'Ignore' }));
  await k.ok(create(1));
  await apply(
    policy({
      matchConditions: [{ name: 'not-mine', expression: "request.userInfo.username != 'fairlead-admin'" }],
      validations: [{ expression: 'false' }],
    }),
  );
  await k.ok(create(1, 'mine'));
  await apply(
    policy({
      validations: [
        {
          expression:
            "authorizer.group('').resource('secrets').namespace('default').check('delete').allowed()",
          message: 'may not',
        },
        { expression: "namespaceObject.metadata.name == 'default'", message: 'not here' },
      ],
    }),
  );
  await k.ok(create(1, 'allowed'));
  await k.ok('create namespace elsewhere');
  assert.match(await k.fails(`${create(1)} -n elsewhere`), /denied request: not here/);
  await k.ok('create clusterrolebinding robots --clusterrole=edit --user=robot');
  await k.ok('create clusterrolebinding viewers --clusterrole=view --user=viewer');
  await k.ok('create role maker --verb=create --resource=deployments');
  await k.ok('create rolebinding makers --role=maker --user=viewer');
  await k.ok(`${create(1, 'by-robot')} --as=robot`);
  assert.match(await k.fails(`${create(1, 'by-viewer')} --as=viewer`), /denied request: may not/);
});

test('policies: a binding may be about less; deletions; an expression that costs too much', {
  skip,
}, async () => {
  await apply(
    policy({ validations: [few] }),
    binding({ matchResources: { objectSelector: { matchLabels: { app: 'bounded' } } } }),
  );
  await k.ok(create(9, 'free'));
  assert.match(await k.fails(create(9, 'bounded')), /denied request/);
  const costly =
    '[1,2,3,4,5,6,7,8].all(a, object.data.all(k, object.data.all(l, object.data.all(m, object.data.all(n, k + l + m + n != string(a))))))';
  await apply(
    {
      ...policy(
        {
          matchConstraints: {
            resourceRules: [
              {
                apiGroups: [''],
                apiVersions: ['v1'],
                operations: ['CREATE', 'DELETE'],
                resources: ['configmaps'],
              },
            ],
          },
          validations: [
            {
              expression: "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'",
              message: 'stays',
            },
            { expression: `request.operation == 'DELETE' || !has(object.data) || ${costly}` },
          ],
        },
        'kept',
      ),
    },
    binding({ policyName: 'kept' }, 'kept'),
  );
  await k.ok('create configmap kept');
  assert.match(await k.fails('delete configmap kept'), /denied request: stays/);
  const data = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`k${at}`, 'v']));
  assert.match(
    await k.fails(
      `create -f ${k.file({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'big' }, data })}`,
    ),
    /actual cost limit exceeded/,
  );
  await k.ok('delete validatingadmissionpolicybinding kept');
  await k.ok('delete configmap kept');
});

test('policies: what cannot be a policy is refused', { skip }, async () => {
  const refusal = await k.fails(
    `create -f ${k.file(
      policy({
        variables: [{ name: 'a', expression: 'variables.b' }],
        validations: [
          { expression: 'object.a +' },
          { expression: "'text'" },
          { expression: 'params.x', reason: 'Teapot', message: 'two\nlines' },
        ],
      }),
    )}`,
  );
  for (const part of [
    /spec.variables\[0\].expression: .*undefined field 'b'/,
    /spec.validations\[0\].expression: .*compilation failed/,
    /spec.validations\[1\].expression: Invalid value: "'text'": must evaluate to bool/,
    /spec.validations\[2\].expression: .*Unknown variable: params/,
    /spec.validations\[2\].reason: Unsupported value: "Teapot"/,
    /message must not contain line breaks/,
  ]) {
    assert.match(refusal, part);
  }
  assert.match(
    await k.fails(`create -f ${k.file(policy({ matchConstraints: undefined }))}`),
    /spec.matchConstraints: Required value[^]*validations or auditAnnotations must be non-empty/,
  );
  assert.match(
    await k.fails(`create -f ${k.file(binding({ validationActions: ['Deny', 'Warn'], policyName: '' }))}`),
    /spec.policyName: Required value[^]*must not contain both Deny and Warn/,
  );
});

function mutating(mutations: readonly object[], spec: object = {}, name = 'change'): readonly object[] {
  const frame = policy({}, name) as { spec: object };
  return [
    {
      ...frame,
      kind: 'MutatingAdmissionPolicy',
      spec: { ...frame.spec, reinvocationPolicy: 'Never', mutations, ...spec },
    },
    {
      ...identity,
      kind: 'MutatingAdmissionPolicyBinding',
      metadata: { name },
      spec: { policyName: name },
    },
  ];
}

const patch = (expression: string): object => ({ patchType: 'JSONPatch', jsonPatch: { expression } });
const configuration = (expression: string): object => ({
  patchType: 'ApplyConfiguration',
  applyConfiguration: { expression },
});

test('mutating policies: JSON patches and apply configurations, with defaults and validation', {
  skip,
}, async () => {
  await apply(
    ...mutating(
      [
        patch(
          `has(object.metadata.labels) ? [JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/by'), value: variables.who}] : []`,
        ),
        configuration(
          `Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'side', image: 'envoy'}]}}}}`,
        ),
      ],
      { variables: [{ name: 'who', expression: "'policy-of-' + request.userInfo.username" }] },
    ),
  );
  await k.ok(create(1));
  const made = JSON.parse(await k.ok('get deployment web -o json')) as {
    metadata: { labels: Record<string, string> };
    spec: { template: { spec: { containers: { name: string; imagePullPolicy: string }[] } } };
  };
  assert.equal(made.metadata.labels['example.com/by'], 'policy-of-fairlead-admin');
  const { containers } = made.spec.template.spec;
  assert.deepEqual(containers.map(({ name, imagePullPolicy }) => `${name} ${imagePullPolicy}`).toSorted(), [
    'caddy Always',
    'side Always',
  ]);
  assert.match(
    await k.ok('get mutatingadmissionpolicies'),
    /NAME +MUTATIONS +PARAMKIND +AGE\nchange +2 +<unset> /,
  );
  await k.ok('patch deployment web --type=merge -p {"metadata":{"labels":{"example.com/by":"me"}}}');
  assert.equal(
    await k.ok(`get deployment web -o 'jsonpath={.metadata.labels.example\\.com/by}'`),
    'policy-of-fairlead-admin',
  );
  await apply(...mutating([configuration('Object{spec: Object.spec{replikas: 1}}')]));
  assert.match(await k.fails(create(1, 'other')), /unknown field "spec.replikas"/);
  await apply(...mutating([configuration('Object{spec: Object.spec{replicas: -1}}')]));
  assert.match(await k.fails(create(1, 'other')), /spec.replicas: Invalid value: -1/);
});

test('mutating policies: order, running again, failures, and a validating one that sees the result', {
  skip,
}, async () => {
  const append = (letter: string): object =>
    patch(
      `[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'trace': (has(object.metadata.annotations) && 'trace' in object.metadata.annotations ? object.metadata.annotations['trace'] : '') + '${letter}'}}]`,
    );
  await apply(
    ...mutating([append('a')], { reinvocationPolicy: 'IfNeeded' }, 'a-first'),
    ...mutating([append('b')], {}, 'b-second'),
    policy({
      validations: [
        {
          expression: "object.metadata.annotations['trace'] == 'aba'",
          messageExpression: "object.metadata.annotations['trace']",
        },
      ],
    }),
    binding(),
  );
  await k.ok(create(1));
  await k.ok('delete mutatingadmissionpolicybindings --all');
  assert.match(await k.fails(create(1, 'untouched')), /No such key/);
  await k.ok('delete validatingadmissionpolicybindings --all');

  const broken = [patch("[JSONPatch{op: 'remove', path: '/spec/none'}]")];
  await apply(...mutating(broken));
  assert.match(
    await k.fails(create(1, 'broken')),
    /MutatingAdmissionPolicy 'change' with binding 'change' denied request: .*none/,
  );
  await apply(...mutating(broken, { failurePolicy: 'Ignore' }));
  await k.ok(create(1, 'ignored'));
  const [bad] = mutating([{ patchType: 'Merge' }, { patchType: 'JSONPatch' }], {
    reinvocationPolicy: 'Often',
  });
  assert.match(
    await k.fails(`apply -f ${k.file(bad ?? {})}`),
    /mutations\[0\].patchType: Unsupported value: "Merge"[^]*mutations\[1\].jsonPatch: Required value[^]*reinvocationPolicy: Unsupported value: "Often"/,
  );
});
