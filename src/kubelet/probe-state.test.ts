import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freshProbe, observe, type ProbeOutcome, summarise } from './probe-state.ts';

const results = (outcomes: string, probe: { failureThreshold?: number; successThreshold?: number }) => {
  let state = freshProbe;
  return outcomes.split('').map((letter) => {
    const outcome: ProbeOutcome = letter === '+' ? 'success' : 'failure';
    state = observe(state, outcome, probe);
    return state.result === 'unknown' ? '?' : state.result === 'success' ? '+' : '-';
  });
};

for (const { name, outcomes, probe, want } of [
  { name: 'one success is enough', outcomes: '+', probe: {}, want: '+' },
  { name: 'three failures in a row by default', outcomes: '+---', probe: {}, want: '+++-' },
  { name: 'a success in between starts the count again', outcomes: '+--+--', probe: {}, want: '++++++' },
  { name: 'failures before any success', outcomes: '---+', probe: {}, want: '??-+' },
  {
    name: 'success threshold',
    outcomes: '-++-++',
    probe: { failureThreshold: 1, successThreshold: 2 },
    want: '--+--+',
  },
] as const) {
  test(`probe: ${name}`, () => assert.equal(results(outcomes, probe).join(''), want));
}

const success = { ...freshProbe, result: 'success' } as const;
const failure = { ...freshProbe, result: 'failure' } as const;

for (const { name, probes, states, want } of [
  {
    name: 'no probes: ready at once',
    probes: {},
    states: {},
    want: { started: true, ready: true, unhealthy: undefined },
  },
  {
    name: 'not started before its startup probe',
    probes: { startup: {}, readiness: {} },
    states: { readiness: success },
    want: { started: false, ready: false, unhealthy: undefined },
  },
  {
    name: 'not ready before its first success',
    probes: { readiness: {} },
    states: {},
    want: { started: true, ready: false, unhealthy: undefined },
  },
  {
    name: 'a dead one keeps its readiness until it is stopped',
    probes: { liveness: {} },
    states: { liveness: failure },
    want: { started: true, ready: true, unhealthy: 'liveness' },
  },
  {
    name: 'a startup that failed',
    probes: { startup: {} },
    states: { startup: failure },
    want: { started: false, ready: false, unhealthy: 'startup' },
  },
] as const) {
  test(`probes together: ${name}`, () => assert.deepEqual(summarise(probes, states), want));
}
