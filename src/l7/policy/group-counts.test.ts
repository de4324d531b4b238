/** Limits by client address that several workers hold together; what they tell each other passes through the hands of this test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { type CountReport, CountReporter, PlaceLedger, reportKeysMax, reportMs } from './group-counts.ts';
import { PolicyStates } from './policy-states.ts';

const rate = { perSecond: 10, burst: 20, exempt: [] };

/** So many workers whose reports reach the others `lagMs` later than they are made. */
function group(count: number, lagMs = 5) {
  const clock = new FakeClock();
  const ledger = new PlaceLedger<PolicyStates>();
  const workers: PolicyStates[] = [];
  const after = (ms: number, callback: () => void) => clock.after(ms, callback);
  const start = (): PolicyStates => {
    const worker: PolicyStates = new PolicyStates(
      new CountReporter(after, (report) => deliver(worker, report)),
    );
    worker.hear({ rates: [], places: ledger.all }, clock.monotonicMs());
    workers.push(worker);
    return worker;
  };
  const deliver = (from: PolicyStates, report: CountReport): void => {
    ledger.take(from, report.places);
    clock.after(lagMs, () => {
      for (const other of workers) if (other !== from) other.hear(report, clock.monotonicMs());
    });
  };
  const end = (worker: PolicyStates): void => {
    workers.splice(workers.indexOf(worker), 1);
    const places = ledger.leave(worker);
    for (const other of workers) other.hear({ rates: [], places }, clock.monotonicMs());
  };
  for (let index = 0; index < count; index += 1) start();
  const take = (worker: PolicyStates, client = 'a'): boolean =>
    worker.takeRate('default/web', client, rate, clock.monotonicMs()) === 0;
  return { clock, workers, take, start, end };
}

test('group counts: a rate holds for three workers together in the long run, whoever is asked', async () => {
  for (const spread of [1, 3]) {
    const { clock, workers, take } = group(3);
    let passed = 0;
    for (let second = 0; second < 60; second += 1) {
      for (let ask = 0; ask < 100; ask += 1) {
        if (take(workers[ask % spread]!)) passed += 1;
        await clock.advance(10);
      }
    }
    const one = 60 * rate.perSecond + rate.burst;
    assert.ok(passed >= one - rate.burst && passed <= one + 2, `${spread} asked: ${passed} of ${one}`);
  }
});

test('group counts: at once no more than each worker’s burst passes, and it is owed afterwards', async () => {
  const { clock, workers, take } = group(3);
  let passed = 0;
  for (let ask = 0; ask < 300; ask += 1) if (take(workers[ask % 3]!)) passed += 1;
  assert.equal(passed, 3 * rate.burst);
  await clock.advance(reportMs + 10);
  let later = 0;
  for (let ask = 0; ask < 3900; ask += 1) {
    if (take(workers[ask % 3]!)) later += 1;
    await clock.advance(1); // 3.9 s of the 4 s that the debt of 40 lasts
  }
  assert.equal(later, 0);
  await clock.advance(1000);
  assert.equal(take(workers[0]!), true);
});

test('group counts: a client that one worker knows starts with what is left at the others', async () => {
  const { clock, workers, take } = group(2);
  for (let ask = 0; ask < rate.burst; ask += 1) assert.equal(take(workers[0]!), true);
  assert.equal(take(workers[1]!, 'b'), true, 'others are not concerned');
  await clock.advance(reportMs + 10);
  assert.equal(take(workers[1]!), false);
});

test('group counts: what a worker hears of a client that it has not seen for long is not forgiven', async () => {
  const { clock, workers, take } = group(2);
  assert.equal(take(workers[1]!), true);
  await clock.advance(60_000);
  for (let ask = 0; ask < rate.burst; ask += 1) assert.equal(take(workers[0]!), true);
  await clock.advance(reportMs + 10);
  assert.equal(take(workers[1]!), false);
});

test('group counts: places are shared, given back, and those of a worker that ends are free', async () => {
  const { clock, workers, start, end } = group(3);
  const [one, two, three] = workers as [PolicyStates, PolicyStates, PolicyStates];
  const take = (worker: PolicyStates) => worker.takeConnection('default/web', 'a', 2);
  const release = take(one);
  assert.ok(take(two) !== undefined);
  await clock.advance(reportMs + 10);
  assert.equal(take(three), undefined);
  const late = start();
  assert.equal(take(late), undefined, 'one that begins is told');
  release?.();
  await clock.advance(reportMs + 10);
  const again = take(three);
  assert.ok(again !== undefined);
  await clock.advance(reportMs + 10);
  assert.equal(take(late), undefined);
  end(two);
  assert.ok(take(late) !== undefined);
});

test('reportKeysMax: rates beyond are not told, places wait for the next report', async () => {
  const clock = new FakeClock();
  const reports: CountReport[] = [];
  const reporter = new CountReporter(
    (ms, callback) => clock.after(ms, callback),
    (report) => reports.push(report),
  );
  for (let index = 0; index <= reportKeysMax; index += 1) {
    reporter.tookRate(`${index}`, rate);
    reporter.changedPlaces(`${index}`, 1);
  }
  await clock.advance(reportMs);
  await clock.advance(reportMs);
  assert.deepEqual(
    reports.map(({ rates, places }) => [rates.length, places.length]),
    [
      [reportKeysMax, reportKeysMax],
      [0, 1],
    ],
  );
  reporter.changedPlaces('x', 1);
  reporter.changedPlaces('x', -1);
  await clock.advance(reportMs);
  assert.equal(reports.length, 2, 'what has changed nothing is not told');
});
