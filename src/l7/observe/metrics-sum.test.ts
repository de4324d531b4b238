import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyMetrics } from './metrics.ts';
import { type MetricsReading, readingOf, sumMetrics, withoutGauges } from './metrics-sum.ts';

/** As it comes from another process. */
function reading(status: number, retries: number, open: number): MetricsReading {
  const metrics = new ProxyMetrics();
  const backend = metrics.backends.of('default/web:80');
  metrics.count(status, 3, backend);
  backend.active = open;
  metrics.retries = retries;
  metrics.clientConnections = open;
  metrics.tablesPublished = 99;
  return structuredClone(readingOf(metrics));
}

test('l7 metrics of workers are added up, and adding again does not count twice', () => {
  const total = new ProxyMetrics();
  total.tablesPublished = 7;
  const { responses } = total;
  for (let scrape = 0; scrape < 2; scrape += 1) {
    sumMetrics(total, [reading(200, 1, 5), reading(200, 2, 6), reading(404, 4, 7)]);
    assert.deepEqual([responses[200], responses[404], total.retries], [2, 1, 7]);
    assert.equal(total.clientConnections, 18);
    assert.equal(total.durations[2], 3);
    assert.ok(Math.abs(total.durationSecondsSum - 0.009) < 1e-9);
    assert.equal(total.tablesPublished, 7, 'told by the one that compiles');
    const backend = total.backends.of('default/web:80');
    assert.deepEqual([backend.answers[2], backend.answers[4], backend.active], [2, 1, 18]);
  }
});

test('l7 metrics: what a worker counted outlives it, what it had open does not', () => {
  const total = new ProxyMetrics();
  sumMetrics(total, [withoutGauges(reading(200, 1, 5)), reading(200, 1, 6)]);
  assert.deepEqual([total.responses[200], total.retries, total.clientConnections], [2, 2, 6]);
  const backend = total.backends.of('default/web:80');
  assert.deepEqual([backend.answers[2], backend.active], [2, 6]);
});
