import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { objectKey } from '../../api/object.ts';
import { type AttemptOwner, Attempts } from './attempts.ts';
import { BackendState } from './backend-state.ts';
import { type BalancePolicy, defaultBalance } from './balance-policy.ts';
import type { ProxyContext } from '../proxy/context.ts';
import { FieldLines } from '../http1/http1-fields.ts';
import { defaultLimits } from '../proxy/limits.ts';
import { ProxyMetrics } from '../observe/metrics.ts';
import { PolicyStates } from '../policy/policy-states.ts';
import { randomFrom } from './random.ts';
import { emptyRouteTable, type Route } from '../routes/table.ts';
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
function world(count: number, policy: BalancePolicy = defaultBalance) {
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
  const state = new BackendState(
    'default/shop:80',
    policy,
    metrics.backends.of('default/shop:80'),
    randomFrom(1),
  );
  state.update(endpoints, undefined, clock.monotonicMs());
  const context: ProxyContext = {
    limits: defaultLimits,
    metrics,
    pool: new UpstreamPool(transport, defaultLimits, metrics, () => clock.monotonicMs()),
    requestLines: new FieldLines(1),
    responseLines: new FieldLines(1),
    policyStates: new PolicyStates(),
    isTrusted: () => false,
    live: {
      table: { ...emptyRouteTable, defaultRoute: route },
      states: [state],
    },
    timed: new Set(),
    marker: undefined,
    trustedHops: 0,
    draining: false,
    nowMs: () => clock.monotonicMs(),
    date: () => '',
    onAccess: undefined,
  };
  const told: string[] = [];
  const owner: AttemptOwner = {
    onEndpoint: ({ key }, fresh) => told.push(fresh ? `${key} fresh` : key),
    onNoEndpoint: (status) => told.push(String(status)),
    onOutOfTime: () => told.push('out of time'),
  };
  const ask = (): Attempts => {
    const attempts = new Attempts(context, owner, request);
    attempts.begin(route, undefined);
    return attempts;
  };
  return { context, clock, state, endpoints, ask, attempts: new Attempts(context, owner, request), told };
}

test('l7 attempts: a request goes on to the next endpoint until none is left', () => {
  const { attempts, told, endpoints, context } = world(3);
  attempts.begin(route, undefined);
  attempts.unreachable('ECONNREFUSED');
  attempts.unreachable('ECONNREFUSED');
  attempts.unreachable('ECONNREFUSED');
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '502']);
  assert.deepEqual(
    endpoints.map(({ pending, ejection }) => [pending, ejection.active]),
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
  assert.equal(endpoints[0]?.ejection.active, false);
  assert.equal(endpoints[0]?.pending, 1);
});

test('l7 attempts: what must not be sent twice is not, though the endpoint is avoided from now on', () => {
  const { attempts, told, endpoints } = world(2);
  attempts.begin(route, undefined);
  attempts.sent += 1;
  attempts.unanswered('ECONNRESET', false, false);
  assert.deepEqual(told, ['10.0.0.1:80', '502']);
  assert.equal(endpoints[0]?.ejection.active, true);
  assert.equal(endpoints[0]?.pending, 0);
});

test('l7 attempts: a refused request goes elsewhere, no more often than the bound', () => {
  const { attempts, told, endpoints } = world(9);
  attempts.begin(route, undefined);
  for (let turn = 0; turn <= defaultBalance.retries.retriesMax; turn += 1) {
    attempts.sent += 1;
    attempts.refused('REFUSED_STREAM');
  }
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80', '502']);
  assert.equal(
    endpoints.some(({ ejection, pending }) => ejection.active || pending > 0),
    false,
  );
});

const bounded: BalancePolicy = {
  ...defaultBalance,
  endpointRequestsMax: 1,
  pendingMax: 2,
  pendingTimeoutMs: 100,
};

test("l7 attempts: requests beyond an endpoint's bound wait in order, and no more of them than may", () => {
  const { ask, told, state } = world(1, bounded);
  const first = ask();
  const second = ask();
  const third = ask();
  ask();
  assert.deepEqual(told, ['10.0.0.1:80', '503']);
  assert.equal(state.counts.waiting, 2);
  assert.equal(state.counts.queueOverflows, 1);
  second.release(); // its client has gone
  first.release();
  assert.deepEqual(told, ['10.0.0.1:80', '503', '10.0.0.1:80']);
  third.release();
  assert.equal(state.counts.waiting, 0);
  assert.equal(state.active, 0);
});

test('l7 attempts: a request that has waited in vain is 503, and the place in the queue is free', () => {
  const { ask, told, state, clock } = world(1, bounded);
  const first = ask();
  ask();
  state.tick(clock.monotonicMs() + 99);
  assert.deepEqual(told, ['10.0.0.1:80']);
  state.tick(clock.monotonicMs() + 100);
  assert.deepEqual(told, ['10.0.0.1:80', '503']);
  first.release();
  assert.deepEqual([state.active, state.counts.waiting, state.counts.queueTimeouts], [0, 0, 1]);
});

test('l7 attempts: those that wait get a new endpoint, and 404 when their route goes', () => {
  const { ask, told, state, context, clock } = world(1, bounded);
  ask();
  ask();
  const more = new UpstreamEndpoint('10.0.0.9:80', '10.0.0.9', 80, 100);
  state.update([...state.endpoints, more], undefined, clock.monotonicMs());
  state.wake();
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.9:80']);
  ask();
  context.live = { table: emptyRouteTable, states: [] };
  state.wake();
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.9:80', '404']);
});

const frugal: BalancePolicy = {
  ...defaultBalance,
  retries: { retriesMax: 5, causes: ['reset', 503], budgetPercent: 20, budgetFloor: 1 },
};

test('l7 attempts: retries under way stay within the budget, whatever fails', () => {
  const { ask, told, state, context } = world(3, frugal);
  const all = Array.from({ length: 10 }, ask);
  for (const attempts of all) {
    attempts.sent += 1;
    attempts.unanswered('ECONNRESET', false, true);
  }
  assert.equal(context.metrics.retries, 2, '20 percent of 10 under way');
  assert.equal(told.filter((word) => word === '502').length, 8);
  assert.equal(state.counts.retriesDenied, 8);
  for (const attempts of all) attempts.release();
  assert.deepEqual([state.active, state.retrying], [0, 0]);
  const alone = ask();
  alone.sent += 1;
  alone.unanswered('ECONNRESET', false, true);
  assert.equal(context.metrics.retries, 3, 'the floor holds when nothing else is under way');
});

test('l7 attempts: an answer is asked for again only by its status, if it may be, and while somebody is left', () => {
  const { ask, told } = world(2, frugal);
  const attempts = ask();
  attempts.sent += 1;
  assert.equal(attempts.answered(502, true), false, 'not a status of the policy');
  assert.equal(attempts.answered(503, false), false, 'must not be sent twice');
  assert.equal(attempts.answered(503, true), true);
  attempts.retryAnswer();
  attempts.sent += 1;
  assert.equal(attempts.answered(503, true), false, 'the last endpoint: its answer is the answer');
  assert.equal(told.length, 2);
});

test('l7 attempts: a bad answer is the answer while all others are at their bound: nobody waits for a better one', () => {
  const { ask, told } = world(2, { ...frugal, endpointRequestsMax: 1, pendingMax: 10 });
  const [first, second] = [ask(), ask()];
  assert.deepEqual(told, ['10.0.0.1:80', '10.0.0.2:80']);
  first.sent += 1;
  assert.equal(first.answered(503, true), false);
  second.release();
  assert.equal(first.answered(503, true), true, 'now there is somebody else');
});

test('l7 attempts: answers that fail in a row eject an endpoint, one request finds out when it is well again', () => {
  const outliers = { errors: 3, ejectionMs: 1000, ejectedPercentMax: 50 };
  const { ask, told, endpoints, clock, state } = world(2, { ...defaultBalance, outliers });
  const [bad, good] = endpoints;
  const serve = (fails: boolean): void => {
    const attempts = ask();
    const failing = told.at(-1) === bad?.key && fails;
    attempts.answered(failing ? 500 : 200, false);
    attempts.release();
  };
  for (let turn = 0; turn < 6; turn += 1) serve(true);
  assert.equal(bad?.ejection.active, true);
  assert.equal(state.counts.ejections, 1);
  told.length = 0;
  for (let turn = 0; turn < 10; turn += 1) serve(true);
  assert.deepEqual(new Set(told), new Set([good?.key]));
  const nowMs = clock.monotonicMs() + 1000;
  assert.equal(bad?.ejection.tick(nowMs), false);
  told.length = 0;
  const held = [ask(), ask(), ask()];
  assert.equal(told.filter((key) => key === bad?.key).length, 1, 'one probe, whatever else comes');
  for (const attempts of held) {
    attempts.answered(200, false);
    attempts.release();
  }
  assert.equal(bad?.ejection.active, false);
});

test('l7 attempts: no more endpoints are ejected for their answers than the policy allows', () => {
  const outliers = { errors: 1, ejectionMs: 1000, ejectedPercentMax: 40 };
  const { ask, endpoints } = world(5, { ...defaultBalance, outliers });
  for (let turn = 0; turn < 20; turn += 1) {
    const attempts = ask();
    attempts.answered(500, false);
    attempts.release();
  }
  assert.equal(endpoints.filter(({ ejection }) => ejection.active).length, 2);
});

test('l7 attempts: a request without an answer in time goes elsewhere if the policy says so', () => {
  const causes = ['timeout'] as const;
  const patient = world(2);
  const first = patient.ask();
  first.sent += 1;
  first.timedOut(true);
  assert.deepEqual(patient.told, ['10.0.0.1:80', '504']);
  const hasty = world(2, { ...defaultBalance, retries: { ...defaultBalance.retries, causes } });
  const second = hasty.ask();
  second.sent += 1;
  second.timedOut(true);
  assert.deepEqual(hasty.told, ['10.0.0.1:80', '10.0.0.2:80']);
  second.sent += 1;
  second.timedOut(false);
  assert.deepEqual(hasty.told, ['10.0.0.1:80', '10.0.0.2:80', '504']);
});
