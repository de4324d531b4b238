import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../api/gen/core-v1.ts';
import type { Endpoint } from '../api/gen/discovery-v1.ts';
import { settleTimeMs, standingIn } from './drain.ts';
import { registryOf } from './registry-check.ts';

const pod: Pod = { metadata: { uid: 'u1' }, status: { podIPs: [{ ip: '10.42.0.2' }] } };
const ours = { kind: 'Pod', uid: 'u1' };

for (const { name, endpoint, want } of [
  {
    name: 'ready',
    endpoint: { addresses: ['10.42.0.2'], targetRef: ours, conditions: { ready: true } },
    want: [true, true],
  },
  {
    name: 'ready where nothing is said',
    endpoint: { addresses: ['10.42.0.2'], targetRef: ours },
    want: [true, true],
  },
  {
    name: 'terminating',
    endpoint: {
      addresses: ['10.42.0.2'],
      targetRef: ours,
      conditions: { ready: false, serving: true, terminating: true },
    },
    want: [true, false],
  },
  { name: 'by its address alone', endpoint: { addresses: ['10.42.0.2'] }, want: [true, true] },
  {
    name: 'another Pod with its old address',
    endpoint: { addresses: ['10.42.0.2'], targetRef: { kind: 'Pod', uid: 'u2' } },
    want: [false, false],
  },
] satisfies readonly { name: string; endpoint: Endpoint; want: [boolean, boolean] }[]) {
  test(`drain: an endpoint that is ${name}`, () => {
    const standing = standingIn({ addressType: 'IPv4', endpoints: [endpoint] }, pod);
    assert.deepEqual([standing.listed, standing.ready], want);
  });
}

for (const [tookMs, timeoutMs, want] of [
  [20, 5000, 500],
  [800, 5000, 1600],
  [2000, 5000, 3000],
  [5000, 5000, 500],
  [20, 250, 250],
] as const) {
  test(`drain: after ${tookMs} of at most ${timeoutMs} ms the data planes have ${want} ms`, () => {
    assert.equal(settleTimeMs(tookMs, timeoutMs, 500), want);
  });
}

for (const [image, want] of [
  ['caddy', 'registry-1.docker.io:443'],
  ['docker.io/library/caddy:latest', 'registry-1.docker.io:443'],
  ['someone/caddy', 'registry-1.docker.io:443'],
  ['registry.example/caddy@sha256:1', 'registry.example:443'],
  ['localhost:5000/caddy', 'localhost:5000'],
] as const) {
  test(`registry of ${image}`, () => {
    const { host, port } = registryOf(image);
    assert.equal(`${host}:${port}`, want);
  });
}
