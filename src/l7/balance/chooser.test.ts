import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { type BalancePolicy, defaultBalance } from './balance-policy.ts';
import { Chooser, slowStartShare, slowStartShareMin } from './chooser.ts';
import { hashText } from './hash.ts';
import { randomFrom } from './random.ts';

type Fake = { readonly key: string; pending: number; avoided: boolean; full: boolean };

const fakes = (count: number): Fake[] =>
  Array.from({ length: count }, (_, index) => ({
    key: `10.42.0.${index + 1}:80`,
    pending: 0,
    avoided: false,
    full: false,
  }));

function chooserOf(policy: Partial<BalancePolicy>, endpoints: readonly Fake[], weights?: readonly number[]) {
  const chooser = new Chooser<Fake>({ ...defaultBalance, ...policy }, randomFrom(7));
  chooser.update(endpoints, weights, 0);
  return chooser;
}

/** How often each is chosen, nothing being under way. */
function shares(
  chooser: Chooser<Fake>,
  count: number,
  turns: number,
  hashOf?: (turn: number) => number,
): number[] {
  const found = new Array<number>(count).fill(0);
  for (let turn = 0; turn < turns; turn += 1) found[chooser.choose(undefined, hashOf?.(turn), 0)]! += 1;
  return found;
}

test('l7 chooser: weights are exact over a round, and spread within it', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 }), (weights) => {
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      const chooser = chooserOf({}, fakes(weights.length), weights);
      assert.deepEqual(shares(chooser, weights.length, total), weights);
    }),
  );
  const chooser = chooserOf({}, fakes(3), [5, 1, 1]);
  const order = Array.from({ length: 7 }, () => chooser.choose(undefined, undefined, 0));
  assert.deepEqual(order, [0, 0, 1, 0, 2, 0, 0]);
});

test('l7 chooser: least request keeps slow and quick endpoints equally busy', () => {
  const endpoints = fakes(5);
  const chooser = chooserOf({ algorithm: 'least-request' }, endpoints);
  const random = randomFrom(3);
  const served = new Array<number>(5).fill(0);
  for (let turn = 0; turn < 20_000; turn += 1) {
    const index = chooser.choose(undefined, undefined, 0);
    endpoints[index]!.pending += 1;
    served[index]! += 1;
    // Endpoint 0 takes ten times as long: each step ends a request with a tenth of the others' chance.
    for (const [which, endpoint] of endpoints.entries()) {
      const chance = (which === 0 ? 0.03 : 0.3) * Math.min(1, endpoint.pending);
      if (random() < chance) endpoint.pending -= 1;
    }
  }
  assert.ok(served[0]! < served[1]! * 0.4, served.join(' '));
  const busiest = Math.max(...endpoints.map(({ pending }) => pending));
  const idlest = Math.min(...endpoints.map(({ pending }) => pending));
  assert.ok(busiest - idlest < 30, `${busiest} and ${idlest}`);
});

test('l7 chooser: least request gives equal endpoints about equal shares', () => {
  const found = shares(chooserOf({ algorithm: 'least-request' }, fakes(8)), 8, 16_000);
  for (const share of found) assert.ok(Math.abs(share - 2000) < 300, found.join(' '));
});

test('l7 chooser: a key stays with its endpoint, and comes back after another one has stood in', () => {
  for (const policy of [{ algorithm: 'consistent-hash' as const }, { byClientAddress: true }]) {
    const endpoints = fakes(6);
    const chooser = chooserOf(policy, endpoints);
    const hash = hashText('192.0.2.7');
    const home = chooser.choose(undefined, hash, 0);
    assert.equal(chooser.choose(undefined, hash, 0), home);
    endpoints[home]!.avoided = true;
    const deputy = chooser.choose(undefined, hash, 0);
    assert.notEqual(deputy, home);
    assert.equal(chooser.choose(undefined, hash, 0), deputy);
    endpoints[home]!.avoided = false;
    assert.equal(chooser.choose(undefined, hash, 0), home);
  }
});

test('l7 chooser: by client address nobody moves but the clients of the one that leaves, and each once', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), fc.boolean(), (count, which, weighted) => {
      const endpoints = fakes(count);
      const weights = weighted ? endpoints.map((_, index) => index + 1) : undefined;
      const gone = endpoints[which % count]!;
      const left = endpoints.filter((endpoint) => endpoint !== gone);
      const chooser = chooserOf({ byClientAddress: true }, endpoints, weights);
      const clients = Array.from({ length: 500 }, (_, index) => hashText(`198.51.100.${index}`));
      const before = clients.map((client) => endpoints[chooser.choose(undefined, client, 0)]);
      chooser.update(
        left,
        weights?.filter((_, index) => endpoints[index] !== gone),
        0,
      );
      for (const [index, client] of clients.entries()) {
        const now = left[chooser.choose(undefined, client, 0)];
        if (before[index] !== gone) assert.equal(now, before[index]);
      }
    }),
    { numRuns: 40 },
  );
});

test('l7 chooser: by client address shares are even, or as the weights say', () => {
  const hashOf = (turn: number): number => hashText(`203.0.113.${turn}`);
  for (const share of shares(chooserOf({ byClientAddress: true }, fakes(4)), 4, 8000, hashOf)) {
    assert.ok(Math.abs(share - 2000) < 250);
  }
  const [light, heavy] = shares(chooserOf({ byClientAddress: true }, fakes(2), [1, 3]), 2, 8000, hashOf);
  assert.ok(Math.abs(light! - 2000) < 250 && Math.abs(heavy! - 6000) < 250);
});

test('l7 chooser: requests without what is hashed by are spread over all', () => {
  assert.deepEqual(shares(chooserOf({ algorithm: 'consistent-hash' }, fakes(4)), 4, 40), [10, 10, 10, 10]);
});

test('l7 chooser: a new endpoint begins with a tenth and grows to its share', async () => {
  const clock = new FakeClock(0);
  const [first, second, added] = fakes(3);
  const chooser = chooserOf({ slowStartMs: 10_000 }, [first!, second!]);
  chooser.update([first!, second!, added!], undefined, clock.monotonicMs());
  const part = (): number => {
    let found = 0;
    for (let turn = 0; turn < 2100; turn += 1) {
      if (chooser.choose(undefined, undefined, clock.monotonicMs()) === 2) found += 1;
    }
    return found / 2100;
  };
  const seen: number[] = [];
  for (const ageMs of [0, 5_000, 10_000]) {
    await clock.advance(ageMs - clock.monotonicMs());
    seen.push(part());
  }
  const wanted = [0.1 / 2.1, 0.5 / 2.5, 1 / 3];
  for (const [index, share] of wanted.entries())
    assert.ok(Math.abs(seen[index]! - share) < 0.01, seen.join(' '));
});

test('l7 chooser: the ramp never falls and stays within its bounds', () => {
  fc.assert(
    fc.property(fc.nat(20_000), fc.nat(20_000), fc.integer({ min: 1, max: 10_000 }), (a, b, windowMs) => {
      const [young, old] = a < b ? [a, b] : [b, a];
      assert.ok(slowStartShare(young, windowMs) <= slowStartShare(old, windowMs));
      assert.ok(slowStartShare(young, windowMs) >= slowStartShareMin);
      assert.equal(slowStartShare(windowMs, windowMs), 1);
    }),
  );
});

const policies: readonly (readonly [string, Partial<BalancePolicy>, readonly number[] | undefined])[] = [
  ['round robin with a bound', { endpointRequestsMax: 3 }, undefined],
  ['weights', { endpointRequestsMax: 3 }, [1, 2, 3, 4]],
  ['least request', { algorithm: 'least-request', endpointRequestsMax: 3 }, undefined],
  ['consistent hash', { algorithm: 'consistent-hash', endpointRequestsMax: 3 }, undefined],
  ['client address', { byClientAddress: true, endpointRequestsMax: 3 }, undefined],
];

for (const [name, policy, weights] of policies) {
  test(`l7 chooser: ${name}: an open endpoint if there is one, then an avoided one, never one at its bound`, () => {
    const state = fc.record({
      pending: fc.integer({ min: 0, max: 3 }),
      avoided: fc.boolean(),
      excluded: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(state, { minLength: 4, maxLength: 4 }), fc.nat(), (states, hash) => {
        const endpoints = fakes(4);
        const excluded = new Set<Fake>();
        for (const [index, { pending, avoided, excluded: out }] of states.entries()) {
          Object.assign(endpoints[index]!, { pending, avoided });
          if (out) excluded.add(endpoints[index]!);
        }
        const chosen = chooserOf(policy, endpoints, weights).choose(excluded, hash, 0);
        const takes = endpoints.filter((endpoint) => endpoint.pending < 3 && !excluded.has(endpoint));
        const open = takes.filter(({ avoided }) => !avoided);
        if (takes.length === 0) assert.equal(chosen, -1);
        else assert.ok((open.length > 0 ? open : takes).includes(endpoints[chosen]!));
      }),
    );
  });
}

test('l7 chooser: with every endpoint out a hashed request looks at each but a few times, not at the whole table', () => {
  let looks = 0;
  const out = {
    key: '10.42.0.1:80',
    pending: 0,
    full: false,
    get avoided() {
      looks += 1;
      return true;
    },
  };
  const chooser = new Chooser<typeof out>({ ...defaultBalance, algorithm: 'consistent-hash' }, randomFrom(7));
  chooser.update([out], undefined, 0);
  assert.equal(chooser.choose(undefined, 4711, 0), 0, 'who is avoided is better than none');
  assert.ok(looks < 10, `${looks} looks`);
});
