import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { run, runOk } from '../support/shell.ts';

/** Server-side apply and managedFields, as each kubectl that is installed does them. */

const kubectls = findKubectls();
const skip = kubectls.length === 0 ? 'no kubectl on PATH' : false;

let server: TestApiServer;
let admin: string;

before(async () => {
  if (skip !== false) return;
  server = await startApiServer();
  admin = server.kubeconfig('admin', server.admin);
});
after(async () => {
  if (skip === false) await server.stop();
});

type Web = {
  readonly name: string;
  readonly image: string;
  readonly env?: boolean;
  readonly replicas?: number;
};

function manifest(web: Web): string {
  const path = join(server.folder, `${web.name}.yaml`);
  const text = `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${web.name}, labels: {app: web}}
spec:
  ${web.replicas === undefined ? '' : `replicas: ${web.replicas}`}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: ${web.image}
        ports: [{containerPort: 80}]
        ${web.env === true ? 'env: [{name: A, value: b}]' : ''}
`;
  writeFileSync(path, text);
  return path;
}

function kubectlAt(path: string) {
  const args = (line: string): readonly string[] => [`--kubeconfig=${admin}`, ...line.split(' ')];
  return {
    ok: async (line: string): Promise<string> => (await runOk(path, args(line))).trim(),
    async fails(line: string): Promise<string> {
      const result = await run(path, args(line));
      assert.notEqual(result.code, 0, `should have failed: ${line}\n${result.stdout}`);
      return result.stderr;
    },
  };
}

/** kubectl up to 1.20 always shows managedFields. */
function showFlag(version: string): string {
  return version === '1.20' ? '' : ' --show-managed-fields';
}

for (const { version, path } of kubectls) {
  const name = `web-${version.replaceAll(/[^0-9]/g, '-')}`;

  test(`kubectl ${version}: apply --server-side, conflicts, force, managers`, { skip }, async () => {
    const k = kubectlAt(path);
    const file = manifest({ name, image: 'caddy:1', env: true, replicas: 2 });
    assert.match(await k.ok(`apply --server-side -f ${file}`), /serverside-applied/);
    const first = await k.ok(`get deployment ${name} -o jsonpath={.metadata.resourceVersion}`);
    assert.match(await k.ok(`apply --server-side -f ${file}`), /serverside-applied/);
    assert.equal(await k.ok(`get deployment ${name} -o jsonpath={.metadata.resourceVersion}`), first);

    const shown = await k.ok(`get deployment ${name} -o yaml${showFlag(version)}`);
    assert.match(shown, /f:containers:\n +k:{"name":"web"}:\n +\.: {}\n +f:env:\n +k:{"name":"A"}:/);
    assert.match(shown, /k:{"containerPort":80,"protocol":"TCP"}/);
    assert.match(shown, /manager: kubectl\n +operation: Apply/);

    await k.ok(`scale deployment ${name} --replicas=5`);
    await k.ok(`set image deployment/${name} web=caddy:9`);
    const refused = await k.fails(`apply --server-side -f ${file}`);
    assert.match(refused, /Apply failed with 2 conflicts/);
    assert.match(refused, /\.spec\.template\.spec\.containers\[name="web"\]\.image/);
    assert.match(refused, /with subresource "scale" using apps\/v1:\n- \.spec\.replicas/);
    assert.match(
      await k.fails(`apply --server-side --field-manager=bob -f ${file}`),
      /Apply failed with 2 conflicts/,
    );
    await k.ok(`apply --server-side --force-conflicts --field-manager=bob -f ${file}`);
    const seen = `get deployment ${name} -o jsonpath={.spec.replicas}{.spec.template.spec.containers[0].image}`;
    assert.equal(await k.ok(seen), '2caddy:1');
    assert.match(
      await k.fails(`apply --server-side -f ${manifest({ name, image: 'caddy:3' })}`),
      /conflict with "bob"/,
    );
    assert.match(
      await k.ok(
        `apply --server-side --dry-run=server --field-manager=bob -f ${manifest({ name, image: 'caddy:4' })}`,
      ),
      /server dry run/,
    );
    assert.equal(await k.ok(seen), '2caddy:1');

    // kubectl gives env up, bob keeps it; then bob gives it up too.
    const envs = `get deployment ${name} -o jsonpath={.spec.template.spec.containers[0].env[*].name}`;
    await k.ok(`apply --server-side -f ${manifest({ name, image: 'caddy:1', replicas: 2 })}`);
    assert.equal(await k.ok(envs), 'A');
    await k.ok(
      `apply --server-side --field-manager=bob -f ${manifest({ name, image: 'caddy:1', replicas: 2 })}`,
    );
    assert.equal(await k.ok(envs), '');
    await k.ok(`delete deployment ${name}`);
  });

  test(`kubectl ${version}: client-side apply becomes server-side apply`, { skip }, async () => {
    const k = kubectlAt(path);
    await k.ok(`apply -f ${manifest({ name, image: 'caddy:1', env: true })}`);
    assert.match(
      await k.ok(`get deployment ${name} -o yaml${showFlag(version)}`),
      /manager: kubectl-client-side-apply\n +operation: Update/,
    );
    // Its own fields are no conflict, though another manager has them.
    assert.match(
      await k.ok(`apply --server-side -f ${manifest({ name, image: 'caddy:2' })}`),
      /serverside-applied/,
    );
    await k.ok(`apply --server-side -f ${manifest({ name, image: 'caddy:2' })}`);
    const container = `get deployment ${name} -o jsonpath={.spec.template.spec.containers[0]['image','env']}`;
    // kubectl moves the fields that it owned before to the new manager from 1.26 on; before, they are nobody's to drop.
    assert.equal(
      (await k.ok(container)).trim(),
      version === '1.20' ? 'caddy:2 [{"name":"A","value":"b"}]' : 'caddy:2',
    );
    assert.match(
      await k.ok(`get deployment ${name} -o jsonpath={.metadata.annotations}`),
      /caddy:2/,
      'last-applied-configuration follows, so that a later client-side apply starts from here',
    );
    await k.ok(`delete deployment ${name}`);
  });
}

test('kubectl apply --server-side --subresource=status owns the status only', { skip }, async () => {
  const k = kubectlAt(kubectls.at(-1)?.path ?? 'kubectl');
  const path = join(server.folder, 'status.yaml');
  await k.ok('create deployment stat --image=caddy');
  writeFileSync(
    path,
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: stat}\nspec: {replicas: 9}\nstatus: {observedGeneration: 1, conditions: [{type: Available, status: "True"}]}\n',
  );
  await k.ok(`apply --server-side --subresource=status --field-manager=watcher -f ${path}`);
  assert.equal(
    await k.ok('get deployment stat -o jsonpath={.spec.replicas}{.status.conditions[0].type}'),
    '1Available',
  );
  assert.match(
    await k.ok('get deployment stat -o yaml --show-managed-fields'),
    /f:status:\n +f:conditions:\n +k:{"type":"Available"}:[^]*manager: watcher\n +operation: Apply\n +subresource: status/,
  );
});

test('an applied field that the schema does not have is refused, whatever the validation', {
  skip,
}, async () => {
  const k = kubectlAt(kubectls.at(-1)?.path ?? 'kubectl');
  const path = join(server.folder, 'unknown.yaml');
  writeFileSync(path, 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: odd, owner: me}\ndate: {a: b}\n');
  const errors = String.raw`errors:\n  \.date: field not declared in schema\n  \.metadata\.owner: field not declared`;
  for (const validate of ['ignore', 'warn']) {
    assert.match(
      await k.fails(`apply --server-side --validate=${validate} -f ${path}`),
      new RegExp(`failed to create typed patch object \\(default/odd; v1, Kind=ConfigMap\\): ${errors}`),
    );
  }
});
