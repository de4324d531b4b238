/** Nodes that vanish: real packets dropped by nftables, in a network namespace of this process's own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type Server } from 'node:http';
import { test, type TestContext } from 'node:test';
import { endpointSlices } from '../../src/api/resource.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { countedLoad } from '../support/counted-load.ts';
import { FakeApi } from '../support/fake-api.ts';
import { enterNewNetworkNamespace } from '../support/namespace.ts';
import { get, localhost, seedWeb, slice, startIngress, until } from './ingress-harness.ts';

const refused = await enterNewNetworkNamespace();
const skip = refused === undefined ? false : refused;
const options = { timeout: 300_000, skip };

const near = '10.123.0.1';
const far = '10.123.0.2';
const port = 8080;

if (refused === undefined) {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  for (const address of [near, far]) execFileSync('ip', ['address', 'add', `${address}/32`, 'dev', 'lo']);
  nft('add table ip cut', 'add chain ip cut out { type filter hook output priority 0; }');
}

function nft(...commands: readonly string[]): void {
  execFileSync('nft', ['-f', '-'], { input: commands.join('\n') });
}

/** Drops all packets from and to the far address, as when its node has lost its cable. */
function cutOff(): void {
  nft(`add rule ip cut out ip daddr ${far} drop`, `add rule ip cut out ip saddr ${far} drop`);
}

function heal(): void {
  nft('flush chain ip cut out');
}

type Node = { readonly server: Server; requests: number; posts: number };

async function startNode(t: TestContext, address: string): Promise<Node> {
  const node: Node = {
    server: createServer((request, response) => {
      node.requests += 1;
      if (request.method === 'POST') node.posts += 1;
      request.resume();
      response.end(address);
    }),
    requests: 0,
    posts: 0,
  };
  node.server.listen(port, address);
  await once(node.server, 'listening');
  t.after(() => {
    node.server.close();
    node.server.closeAllConnections();
  });
  return node;
}

const limits = {
  ...defaultLimits,
  upstreamConnectTimeoutMs: 600,
  upstreamStallMs: 600,
  quarantineMs: 200,
  quarantineMaxMs: 400,
};

async function startBoth(t: TestContext) {
  t.after(heal);
  const nodes = [await startNode(t, near), await startNode(t, far)] as const;
  const api = new FakeApi();
  seedWeb(api, []);
  for (const [index, address] of [near, far].entries()) {
    const endpoints = [{ addresses: [address], conditions: { ready: true } }];
    api.seed(endpointSlices, { ...slice('web', index, port), endpoints });
  }
  const { http } = await startIngress(t, api, { limits });
  return { api, http, nodes };
}

test('ingress cut off: a blackholed endpoint costs no request, of whatever method', options, async (t) => {
  const { http, nodes } = await startBoth(t);
  cutOff();
  for (let turn = 0; turn < 20; turn += 1) {
    const answer = await fetch(`http://${localhost}:${http}/`, { method: 'POST', body: 'once' });
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), near);
  }
  assert.equal(nodes[0].posts, 20);
  assert.equal(nodes[1].posts, 0);
  heal();
  // Found out by a connection of the proxy's own, then used again.
  await until(async () => (await get(http, '/', false)).body === far);
});

test(
  'ingress cut off: no idempotent request is lost while a node goes and comes back, whoever was under way',
  options,
  async (t) => {
    const { http, nodes } = await startBoth(t);
    const agent = new Agent({ keepAlive: true });
    t.after(() => agent.destroy());
    const traffic = countedLoad(async () => {
      const { status, body } = await get(http, '/', agent);
      return status === 200 || `${status} ${body}`;
    }, 12);
    for (let round = 0; round < 2; round += 1) {
      await traffic.more(200);
      cutOff();
      const before = nodes[0].requests;
      await traffic.more(400);
      assert.ok(nodes[0].requests > before);
      heal();
      const atFar = nodes[1].requests;
      await until(() => nodes[1].requests > atFar + 20 || traffic.counts.failures.length > 0);
    }
    await traffic.stop();
  },
);

test('ingress cut off: a POST under way is not sent twice', options, async (t) => {
  const { http, nodes } = await startBoth(t);
  nodes[1].server.removeAllListeners('request');
  let arrived = 0;
  nodes[1].server.on('request', () => {
    arrived += 1; // never answered
  });
  const held: Promise<number>[] = [];
  while (arrived === 0) {
    const { promise, resolve } = Promise.withResolvers<number>();
    const request = httpRequest({ host: localhost, port: http, method: 'POST', agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', () => resolve(0));
    request.end('once');
    held.push(promise);
    await until(() => arrived + nodes[0].posts >= held.length);
  }
  const posts = nodes[0].posts;
  cutOff();
  // Long enough for the proxy to know that the node is gone: a GET that was caught there comes back from the other one.
  for (let turn = 0; turn < 6; turn += 1) assert.equal((await get(http, '/', false)).status, 200);
  assert.equal(nodes[0].posts, posts);
  assert.equal(arrived, 1);
});
