import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import {
  type KubeconfigFacts,
  mergeContext,
  mergeIntoFile,
  removeContext,
  removeFromFile,
  renderKubeconfig,
  userKubeconfigPath,
} from './kubeconfig.ts';

const facts: KubeconfigFacts = {
  contextName: 'fairlead-dev',
  userName: 'fairlead-admin@dev',
  server: 'https://127.0.0.1:6443',
  authority: 'CA',
  client: { certificate: 'CERT', key: 'KEY' },
};
const names = { contextName: facts.contextName, userName: facts.userName };

const foreign = `# my clusters
apiVersion: v1
kind: Config
current-context: work
clusters:
  - name: work # the big one
    cluster: {server: https://work.example}
contexts:
  - name: work
    context: {cluster: work, user: me}
users:
  - name: me
    user: {token: "yes"}
preferences: {}
`;

test('a rendered kubeconfig is JSON and YAML at once', () => {
  const text = renderKubeconfig(facts);
  assert.deepEqual(JSON.parse(text), parse(text));
  assert.equal(JSON.parse(text)['current-context'], 'fairlead-dev');
});

test('merging into nothing gives a whole kubeconfig', async () => {
  const { text, previous } = await mergeContext('', facts);
  assert.equal(previous, undefined);
  assert.deepEqual(parse(text), JSON.parse(renderKubeconfig(facts)));
});

test('merging keeps everything else, comments too, and makes the context current', async () => {
  const { text, previous } = await mergeContext(foreign, facts);
  assert.equal(previous, 'work');
  assert.match(text, /# my clusters/);
  assert.match(text, /# the big one/);
  const merged = parse(text);
  assert.equal(merged['current-context'], 'fairlead-dev');
  assert.deepEqual(
    merged.contexts.map(({ name }: { name: string }) => name),
    ['work', 'fairlead-dev'],
  );
  assert.equal(merged.users[0].user.token, 'yes');
});

test('merging twice replaces, and does not forget what was current', async () => {
  const once = await mergeContext(foreign, facts);
  const twice = await mergeContext(once.text, { ...facts, server: 'https://127.0.0.1:7000' });
  assert.equal(twice.previous, undefined);
  const merged = parse(twice.text);
  assert.equal(merged.clusters.length, 2);
  assert.equal(merged.clusters[1].cluster.server, 'https://127.0.0.1:7000');
});

test('removing restores what was there before', async () => {
  const { text, previous } = await mergeContext(foreign, facts);
  const without = await removeContext(text, names, previous);
  assert.deepEqual(parse(without ?? ''), parse(foreign));
});

test('removing leaves another current context alone', async () => {
  const { text } = await mergeContext(foreign, facts);
  const chosen = text.replace('current-context: fairlead-dev', 'current-context: work');
  const without = await removeContext(chosen, names, undefined);
  assert.equal(parse(without ?? '')['current-context'], 'work');
});

test('removing where the previous context is gone unsets the current one', async () => {
  const { text } = await mergeContext('', facts);
  const without = await removeContext(text, names, 'gone');
  assert.equal(parse(without ?? '')['current-context'], '');
});

test('removing what is not there changes nothing', async () => {
  assert.equal(await removeContext(foreign, names, undefined), undefined);
});

for (const [what, text] of [
  ['broken YAML', 'a: [b'],
  ['a list', '- a\n'],
] as const) {
  test(`${what} is refused and left alone`, async () => {
    await assert.rejects(mergeContext(text, facts));
  });
}

test('the file to merge into is the first of $KUBECONFIG, else the one in the home', () => {
  assert.equal(userKubeconfigPath({ KUBECONFIG: ':/a:/b', HOME: '/home/x' }), '/a');
  assert.equal(userKubeconfigPath({ KUBECONFIG: '', HOME: '/home/x' }), '/home/x/.kube/config');
});

test('files: a created one vanishes again, a linked one stays a link', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fairlead-kubeconfig-'));
  try {
    const fresh = join(dir, 'sub', 'config');
    await mergeIntoFile(fresh, facts);
    assert.equal((await stat(fresh)).mode & 0o777, 0o600);
    assert.equal(await removeFromFile(fresh, names, { previous: undefined, created: true }), true);
    await assert.rejects(stat(fresh), { code: 'ENOENT' });
    await writeFile(join(dir, 'real'), foreign);
    await symlink('real', join(dir, 'link'));
    assert.equal(await mergeIntoFile(join(dir, 'link'), facts), 'work');
    assert.match(await readFile(join(dir, 'real'), 'utf8'), /fairlead-dev/);
    assert.equal(await removeFromFile(join(dir, 'link'), names, { previous: 'work', created: false }), true);
    assert.deepEqual(parse(await readFile(join(dir, 'link'), 'utf8')), parse(foreign));
  } finally {
    await rm(dir, { recursive: true });
  }
});
