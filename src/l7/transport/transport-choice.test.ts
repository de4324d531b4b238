import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../base/log.ts';
import { netTransport } from './net-transport.ts';
import { chooseTransport } from './transport-choice.ts';
import { kernelTooOld } from './uring-kernel.ts';

test('auto and net are node:net; uring is it too where the kernel refuses, and the reason is logged', async () => {
  const logged: unknown[] = [];
  const log = {
    ...silentLogger,
    warn: (_: string, fields?: unknown) => {
      logged.push(fields);
    },
  };
  const refused = new Error('io_uring_setup failed: EPERM');
  const open = () => Promise.reject(refused);
  assert.equal(await chooseTransport('auto', log, open), netTransport);
  assert.equal(await chooseTransport('net', log, open), netTransport);
  assert.deepEqual(logged, []);
  assert.equal(await chooseTransport('uring', log, open), netTransport);
  assert.deepEqual(logged, [{ transport: 'net', reason: 'io_uring cannot be used here', error: refused }]);
});

test('the kernel must be 6.1 or newer', () => {
  for (const release of ['6.1.0', '6.18.44-x', '7.0.0']) assert.equal(kernelTooOld(release), undefined);
  for (const release of ['5.15.0-generic', '6.0.19', '4.19'])
    assert.match(kernelTooOld(release) ?? '', /older than 6\.1/);
});
