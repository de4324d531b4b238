import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { objectKey } from '../api/object.ts';
import { type AttemptOwner, Attempts } from './attempts.ts';
import type { ProxyContext } from './context.ts';
import { FieldLines } from './http1-fields.ts';
import { defaultLimits } from './limits.ts';
import { ProxyMetrics } from './metrics.ts';
import { PolicyStates } from './policy-states.ts';
import { emptyRouteTable, type Route } from './table.ts';
import { UpstreamEndpoint, UpstreamPool } from './upstream.ts';

const request = { host: 'shop.example', path: '/' };
const route: Route = {
  ingress: objectKey('default', 'shop'),
  host: '',
  path: '/',
  pathType: 'Prefix',
  backend: 0,
  pattern: undefined,
  policy: undefined,
};

/** A worker's context with one backend of so many endpoints, and an owner that notes what it is told. */
function world(count: number) {
  const clock = new FakeClock();
  const metrics = new ProxyMetrics();
  const endpoints = Array.from(
    { length: count },
    (_, index) => new UpstreamEndpoint(`10.0.0.${index + 1}:80`, `10.0.0.${index + 1}`, 80, 100),
  );
  const transport = {
    connect: () => {
      throw new Error('nothing connects here');
    },
  };
  const context: ProxyContext = {
    limits: defaultLimits,
    metrics,
    pool: new UpstreamPool(transport, defaultLimits, metrics),
    requestLines: new FieldLines(1),
    responseLines: new FieldLines(1),
    policyStates: new PolicyStates(),
    isTrusted: () => false,
    live: {
      table: {
        ...emptyRouteTable,
        backends: [{ key: 'default/shop:80', index: 0, endpoints: [], tls: undefined }],
        defaultRoute: route,
      },
      states: [{ endpoints, cursor: 0 }],
    },
    draining: false,
    nowMs: () => clock.monotonicMs(),
    onAccess: undefined,
  };
  const told: string[] = [];
  const owner: AttemptOwner = {
    onEndpoint: ({ key }, fresh) => told.push(fresh ? `${key} fresh` : key),
    onNoEndpoint: (status) => told.push(String(status)),
  };
  const attempts = new Attempts(context, owner, request);
  return { context, endpoints, attempts, told };
}

test('l7 attempts: a request goes on to the next endpoint until none is left', () => {
  const { attempts, told, endpoints, context } = world(3);
  attempts.begin(route, undefined);
  attempts.unreachable('ECONNREFUSED');
  attempts.unreachable('ECONNREFUSED');
  attempts.unreachable('ECONNREFUSED');
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '502']);
  assert.deepEqual(
    endpoints.map(({ pending, quarantined }) => [pending, quarantined]),
    [
      [0, true],
      [0, true],
      [0, true],
    ],
  );
  assert.equal(context.metrics.retries, 2);
});

test('l7 attempts: nobody to ask is 503, no route 404, out of time 504', () => {
  const none = world(0);
  none.attempts.begin(route, undefined);
  none.attempts.begin(undefined, undefined);
  assert.deepEqual(none.told, ['503', '404']);
  const slow = world(1);
  slow.attempts.begin(route, undefined);
  slow.attempts.unreachable('ETIMEDOUT');
  assert.deepEqual(slow.told, ['10.0.0.1:80', '504']);
});

test('l7 attempts: a kept connection that broke is no word against its endpoint', () => {
  const { attempts, told, endpoints } = world(1);
  attempts.begin(route, undefined);
  attempts.sent += 1;
  attempts.unanswered('ECONNRESET', true, true);
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.1:80 fresh']);
  assert.equal(endpoints[0]?.quarantined, false);
  assert.equal(endpoints[0]?.pending, 1);
});

test('l7 attempts: what must not be sent twice is not, though the endpoint is avoided from now on', () => {
  const { attempts, told, endpoints } = world(2);
  attempts.begin(route, undefined);
  attempts.sent += 1;
  attempts.unanswered('ECONNRESET', false, false);
  assert.deepEqual(told, ['10.0.0.1:80', '502']);
  assert.equal(endpoints[0]?.quarantined, true);
  assert.equal(endpoints[0]?.pending, 0);
});

test('l7 attempts: a refused request goes elsewhere, no more often than the bound', () => {
  const { attempts, told, endpoints } = world(9);
  attempts.begin(route, undefined);
  for (let turn = 0; turn < defaultLimits.sendAttemptsMax; turn += 1) {
    attempts.sent += 1;
    attempts.refused('REFUSED_STREAM');
  }
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '502']);
  assert.equal(
    endpoints.some(({ quarantined, pending }) => quarantined || pending > 0),
    false,
  );
});
