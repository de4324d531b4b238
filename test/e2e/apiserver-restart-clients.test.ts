import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { configMaps } from '../../src/api/resource.ts';
import { type ApiClient, isApiError } from '../../src/client/client.ts';
import { type ApiServerProcess, startApiServerProcess } from '../support/apiserver-process.ts';
import { readyClientNode, readyGoPrograms } from '../support/clients.ts';

/**
 * Informers of other client libraries while the API server is killed and comes back, and when it has forgotten the changes
 * that they have not seen (410 Expired): they list again and miss nothing.
 */

const clientNode = await readyClientNode();
const programs = await readyGoPrograms();
for (const reason of [clientNode, programs])
  if (typeof reason === 'string') console.log(`skipped: ${reason}`);

let server: ApiServerProcess;
let kubeconfig: string;
let client: ApiClient;

before(async () => {
  server = await startApiServerProcess();
  kubeconfig = await server.kubeconfig('fairlead-admin', ['system:masters']);
  client = await server.client('fairlead-admin', ['system:masters']);
});
after(() => server.stop());

async function write(name: string, n: number): Promise<void> {
  const object = { metadata: { namespace: 'default', name }, data: { n: String(n) } };
  if (n === 0) await client.create(configMaps, object);
  else await client.patch(configMaps, 'default', name, 'merge', object);
}

type Follower = { readonly child: ChildProcess; seen(want: string): Promise<void>; stop(): Promise<void> };

function follow(program: string, args: readonly string[]): Follower {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const waiting = new Map<string, () => void>();
  const printed = new Set<string>();
  let isOver = false;
  createInterface({ input: child.stdout }).on('line', (line) => {
    printed.add(line);
    waiting.get(line)?.();
  });
  void closed.then(() => {
    isOver = true;
    for (const wake of waiting.values()) wake();
  });
  return {
    child,
    async seen(want) {
      if (!printed.has(want) && !isOver)
        await new Promise<void>((resolve) => void waiting.set(want, resolve));
      waiting.delete(want);
      assert.ok(printed.has(want), `never seen: ${want}; but: ${[...printed].join(' | ')}`);
    },
    async stop() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** `ready`: what the informer prints when it has listed. */
async function throughRestarts(follower: Follower, ready: string, name: string): Promise<void> {
  const lost = `${name}-lost`;
  try {
    await follower.seen(ready);
    await write(name, 0);
    await write(lost, 0);
    await follower.seen(`add ${name} 0`);
    await follower.seen(`add ${lost} 0`);
    await server.kill();
    await server.startAgain();
    await write(name, 1);
    await follower.seen(`update ${name} 1`);
    // While it sleeps, one object goes, another changes, and the server forgets how: a restart keeps no history.
    follower.child.kill('SIGSTOP');
    await client.delete(configMaps, 'default', lost);
    await write(name, 2);
    await server.kill();
    await server.startAgain();
    assert.ok(await expiredAtOnce(), 'the server has forgotten its history');
    follower.child.kill('SIGCONT');
    await follower.seen(`update ${name} 2`);
    await follower.seen(`delete ${lost}${name.startsWith('go') ? '' : ' 0'}`);
    await write(name, 3);
    await follower.seen(`update ${name} 3`);
    await client.delete(configMaps, 'default', name);
  } finally {
    await follower.stop();
  }
}

/** A watch from the first revision is answered with 410. */
async function expiredAtOnce(): Promise<boolean> {
  try {
    for await (const { type } of client.watch(configMaps, '1', { namespace: 'default' })) {
      if (type !== 'BOOKMARK') return false;
    }
  } catch (error) {
    if (isApiError(error, 'Expired')) return true;
    throw error;
  }
  return false;
}

test('@kubernetes/client-node: an informer across kill -9 and a compaction', {
  skip: clientNode ?? false,
}, async () => {
  const script = join(import.meta.dirname, '../clients/informer.js');
  await throughRestarts(follow(process.execPath, [script, kubeconfig]), 'started', 'js');
});

test('client-go: objects, server-side apply to scale and status, leader election, an informer across restarts', {
  skip: typeof programs === 'string' ? programs : false,
}, async () => {
  assert.ok(typeof programs !== 'string');
  const follower = follow(programs.client, [kubeconfig]);
  for (const line of [
    'binary [0 255]',
    'conflict true',
    'gone true',
    'invalid true',
    'scale conflict true',
    'scaled 5',
    'extracted x:1, replicas owned false',
    'metadata true',
    'leader one',
    'leader two',
  ]) {
    await follower.seen(line);
  }
  await throughRestarts(follower, 'synced', 'go');
});
