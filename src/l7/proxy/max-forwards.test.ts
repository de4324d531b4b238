import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countForward } from './max-forwards.ts';

const head = (...lines: readonly string[]): string =>
  `${['OPTIONS / HTTP/1.1', 'Host: a', ...lines].join('\r\n')}\r\n\r\n`;

test('l7 max-forwards: each proxy on the way takes one off, and the last one answers', () => {
  assert.equal(countForward(head('Max-Forwards: 10')), head('Max-Forwards: 9'));
  assert.equal(
    countForward(head('max-forwards:\t1  ', 'Accept: */*')),
    head('max-forwards:\t0  ', 'Accept: */*'),
  );
  assert.equal(countForward(head('Max-Forwards: 0')), undefined);
  assert.equal(countForward(head('Max-Forwards: 000')), undefined);
  assert.equal(countForward(head('Max-Forwards: 5', 'Max-Forwards: 0')), undefined);
});

test('l7 max-forwards: one beyond what can be counted is the largest that can', () => {
  assert.equal(
    countForward(head(`Max-Forwards: ${'9'.repeat(400)}`)),
    head('Max-Forwards: 9007199254740990'),
  );
});

test('l7 max-forwards: what is no number, or another field, is passed on', () => {
  for (const told of ['Max-Forwards: -1', 'Max-Forwards: 1x', 'Max-Forwards:', 'X-Max-Forwards: 0']) {
    assert.equal(countForward(head(told)), head(told));
  }
});
