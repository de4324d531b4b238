import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ipv6Problem } from './prerequisites.ts';

test('a machine without IPv6, and one where it is switched off, are told apart', (t) => {
  const procSys = mkdtempSync(join(tmpdir(), 'fairlead-proc-sys-'));
  t.after(() => rmSync(procSys, { recursive: true }));
  assert.match(ipv6Problem(procSys) ?? '', /this machine has no IPv6/);
  const folder = join(procSys, 'net/ipv6/conf/all');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'disable_ipv6'), '1\n');
  assert.match(ipv6Problem(procSys) ?? '', /IPv6 is switched off.*net\.ipv6\.conf\.all\.disable_ipv6/);
  writeFileSync(join(folder, 'disable_ipv6'), '0\n');
  assert.equal(ipv6Problem(procSys), undefined);
});
