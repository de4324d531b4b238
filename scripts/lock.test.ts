import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeLock } from './lock.ts';

test('lock: a platform that the registry lacks gets the entry that npm ci asks for', () => {
  const tool = {
    version: '1.2.3',
    dev: true,
    optionalDependencies: {
      '@tool/linux-x64': '1.2.3',
      '@tool/linux-x64-musl': '1.2.3',
      '@tool/win32-arm64': '^1.2.3',
    },
  };
  const present = { version: '1.2.3', dev: true, optional: true, os: ['linux'], cpu: ['x64'] };
  const { packages } = completeLock({
    packages: { '': {}, 'node_modules/tool': tool, 'node_modules/@tool/linux-x64': present },
  });
  assert.deepEqual(packages, {
    '': {},
    'node_modules/@tool/linux-x64': present,
    'node_modules/@tool/linux-x64-musl': {
      version: '1.2.3',
      cpu: ['x64'],
      dev: true,
      libc: ['musl'],
      optional: true,
      os: ['linux'],
    },
    'node_modules/@tool/win32-arm64': {
      version: '1.2.3',
      cpu: ['arm64'],
      dev: true,
      optional: true,
      os: ['win32'],
    },
    'node_modules/tool': tool,
  });
});
