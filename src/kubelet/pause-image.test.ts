import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPauseArchive, pauseProgram } from './pause-image.ts';

const hex = (data: Uint8Array, start: number, end?: number) =>
  Buffer.from(data)
    .toString('hex')
    .slice(start * 2, end === undefined ? undefined : end * 2);

test('pause: x86-64 code ignores SIGCHLD, then pauses for ever', () => {
  const program = pauseProgram('amd64');
  assert.equal(hex(program, 0, 4), '7f454c46');
  assert.equal(
    hex(program, 120, 120 + 37),
    'bf11000000' +
      '488d3518000000' +
      '31d2' +
      '41ba08000000' +
      'b80d000000' +
      '0f05' +
      'b822000000' +
      '0f05' +
      'ebf7' +
      '01',
  );
});

test('pause: arm64 code as an assembler would write it', () => {
  const program = pauseProgram('arm64');
  assert.equal(
    hex(program, 120, 120 + 13 * 4),
    [
      '200280d2',
      '81010010',
      '020080d2',
      '030180d2',
      'c81080d2',
      '010000d4',
      '000080d2',
      '010080d2',
      '020080d2',
      '030080d2',
      '280980d2',
      '010000d4',
      'faffff17',
    ].join(''),
  );
});

test('pause: the image is the same every time', () => {
  assert.equal(createPauseArchive('amd64').manifestDigest, createPauseArchive('amd64').manifestDigest);
});
