import assert from 'node:assert/strict';
import ffi from 'node:ffi';
import { test } from 'node:test';
import { silentLogger } from '../../base/log.ts';
import { netTransport } from './net-transport.ts';
import { openOpenSsl } from './openssl.ts';
import { chooseTransport } from './transport-choice.ts';
import { kernelTooOld } from './uring-kernel.ts';

function recording() {
  const logged: [level: string, fields: unknown][] = [];
  const log = {
    ...silentLogger,
    info: (_: string, fields?: unknown) => void logged.push(['info', fields]),
    warn: (_: string, fields?: unknown) => void logged.push(['warn', fields]),
  };
  return { logged, log };
}

test('auto takes io_uring where it can be had; net does not even try', async () => {
  const { logged, log } = recording();
  const ring = { ...netTransport, name: 'uring' } as const;
  let opened = 0;
  const open = () => {
    opened += 1;
    return Promise.resolve(ring);
  };
  assert.equal(await chooseTransport('net', log, open), netTransport);
  assert.equal(opened, 0);
  assert.equal(await chooseTransport('auto', log, open), ring);
  assert.equal(await chooseTransport('uring', log, open), ring);
  assert.deepEqual(logged, [
    ['info', { transport: 'net', reason: 'it was asked for' }],
    ['info', { transport: 'uring', reason: 'the kernel has what it needs' }],
    ['info', { transport: 'uring', reason: 'it was asked for' }],
  ]);
});

test('where the kernel refuses io_uring node:net serves, and the reason is logged', async () => {
  const { logged, log } = recording();
  const error = new Error('io_uring_setup failed: EPERM');
  const open = () => Promise.reject(error);
  assert.equal(await chooseTransport('auto', log, open), netTransport);
  assert.equal(await chooseTransport('uring', log, open), netTransport);
  const fields = { transport: 'net', reason: 'io_uring cannot be used here', error };
  assert.deepEqual(logged, [
    ['info', fields],
    ['warn', fields],
  ]);
});

test('where OpenSSL cannot be called the ring serves without it, and the reason is logged', async () => {
  const { logged, log } = recording();
  const tlsProblem = new Error('no symbol SSL_new');
  const ring = { ...netTransport, name: 'uring', tlsProblem } as const;
  assert.equal(await chooseTransport('auto', log, () => Promise.resolve(ring)), ring);
  assert.deepEqual(logged, [
    ['info', { transport: 'uring', reason: 'the kernel has what it needs' }],
    ['warn', { error: tlsProblem }],
  ]);
});

test('a runtime without OpenSSL of its own, or with another one, is refused', () => {
  const library = new ffi.DynamicLibrary(null);
  const getFunctions = library.getFunctions.bind(library);
  const lacking = Object.assign(Object.create(library) as typeof library, {
    getFunctions: (wanted: Parameters<typeof getFunctions>[0]) =>
      getFunctions({ ...wanted, SSL_of_another_build: { arguments: [], return: 'void' } }),
  });
  assert.throws(() => openOpenSsl(lacking), /SSL_of_another_build/);
  const older = Object.assign(Object.create(library) as typeof library, {
    getFunctions: () => ({ OpenSSL_version_num: () => 0x1010117fn }),
  });
  assert.throws(() => openOpenSsl(older), /OpenSSL 1 is not/);
});

test('the kernel must be 6.1 or newer', () => {
  for (const release of ['6.1.0', '6.18.44-x', '7.0.0']) assert.equal(kernelTooOld(release), undefined);
  for (const release of ['5.15.0-generic', '6.0.19', '4.19'])
    assert.match(kernelTooOld(release) ?? '', /older than 6\.1/);
});
