import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ejection } from './ejection.ts';

test('l7 ejection: out for a time, tried by one request, back when that goes well', () => {
  const ejection = new Ejection();
  ejection.eject('answers', 100, 1000, 0);
  assert.equal(ejection.active, true);
  assert.equal(ejection.tick(99), false);
  assert.equal(ejection.active, true);
  ejection.tick(100);
  assert.equal(ejection.active, false, 'half-open: the next request is the probe');
  assert.equal(ejection.taken(), true);
  assert.equal(ejection.active, true, 'others wait for what becomes of it');
  assert.equal(ejection.taken(), false);
  ejection.answered(120);
  assert.equal(ejection.active, false);
  assert.equal(ejection.marked, false);
});

test('l7 ejection: each failed probe doubles the time, up to the bound', () => {
  const ejection = new Ejection();
  const times: number[] = [];
  let nowMs = 0;
  for (let turn = 0; turn < 6; turn += 1) {
    ejection.eject('answers', 100, 1000, nowMs);
    times.push(ejection.untilMs - nowMs);
    nowMs = ejection.untilMs;
    ejection.tick(nowMs);
    ejection.taken();
  }
  assert.deepEqual(times, [100, 200, 400, 800, 1000, 1000]);
});

test('l7 ejection: one that came back and fails soon is out for longer, one that was well long is not', () => {
  const ejection = new Ejection();
  ejection.eject('connection', 100, 1000, 0);
  ejection.connected(100);
  ejection.eject('connection', 100, 1000, 200);
  assert.equal(ejection.untilMs, 400);
  ejection.connected(400);
  ejection.eject('connection', 100, 1000, 2000);
  assert.equal(ejection.untilMs, 2100);
});

test('l7 ejection: a connection says nothing for answers, an answer says all', () => {
  const ejection = new Ejection();
  ejection.eject('answers', 100, 1000, 0);
  ejection.connected(10);
  assert.equal(ejection.active, true);
  ejection.answered(20);
  assert.equal(ejection.active, false);
});

test('l7 ejection: for connections the caller is asked to connect, and no request is the probe', () => {
  const ejection = new Ejection();
  ejection.eject('connection', 100, 1000, 0);
  assert.equal(ejection.tick(100), true);
  assert.equal(ejection.tick(101), false);
  assert.equal(ejection.taken(), false);
  assert.equal(ejection.active, true);
  ejection.connected(150);
  assert.equal(ejection.active, false);
});

test('l7 ejection: a probe whose client left leaves the question open', () => {
  const ejection = new Ejection();
  ejection.eject('answers', 100, 1000, 0);
  ejection.tick(100);
  ejection.taken();
  ejection.undecided();
  assert.equal(ejection.active, false);
  assert.equal(ejection.taken(), true);
});

test('l7 ejection: failures of requests under way do not lengthen it', () => {
  const ejection = new Ejection();
  ejection.eject('connection', 100, 1000, 0);
  ejection.eject('connection', 100, 1000, 50);
  assert.equal(ejection.untilMs, 100);
});
