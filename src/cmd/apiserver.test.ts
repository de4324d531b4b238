import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readAudit, readServiceCidrs } from './apiserver.ts';

const cases: readonly { readonly text: string; readonly want: readonly string[] | RegExp }[] = [
  { text: '10.43.0.0/16', want: ['10.43.0.0/16'] },
  { text: 'fd43::/112', want: ['fd43::/112'] },
  { text: '10.43.0.0/16,fd43::/112', want: ['10.43.0.0/16', 'fd43::/112'] },
  { text: 'fd43:0::1/112, 10.43.0.1/16', want: ['fd43::/112', '10.43.0.0/16'] },
  { text: 'fd43::/64', want: ['fd43::/64'] },
  { text: '', want: /use ranges such as/ },
  { text: '10.43.0.0', want: /use ranges such as/ },
  { text: '10.43.0.0/16,', want: /use ranges such as/ },
  { text: '10.43.0.0/16,10.44.0.0/16', want: /must be of different IP families/ },
  { text: '10.43.0.0/16,fd43::/112,fd44::/112', want: /at most two ranges/ },
  { text: 'fd43::/48', want: /^fd43::\/48 must have a prefix from \/64 to \/126$/ },
  { text: '10.43.0.0/31', want: /^10.43.0.0\/31 must have a prefix from \/8 to \/30$/ },
];

for (const { text, want } of cases) {
  test(`--service-cidr ${JSON.stringify(text)}`, () => {
    if (want instanceof RegExp) assert.throws(() => readServiceCidrs(text), { message: want });
    else assert.deepEqual(readServiceCidrs(text), want);
  });
}

test('--audit-policy-file and --audit-log-path go together, and the policy must be one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'audit-options-'));
  try {
    const auditPolicyFile = join(folder, 'policy.yaml');
    const sizes = { auditLogMaxsize: 1, auditLogMaxbackup: 2 };
    const options = { auditPolicyFile, auditLogPath: '-', ...sizes };
    const write = (rules: string): Promise<void> =>
      writeFile(auditPolicyFile, `apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: ${rules}\n`);
    assert.deepEqual(await readAudit(sizes), {});
    await assert.rejects(readAudit({ auditPolicyFile, ...sizes }), { message: /go together/ });
    await write('[{level: All}]');
    await assert.rejects(readAudit(options), { message: /policy\.yaml:\n {2}rules\[0\]\.level: .*"All"/ });
    await write('[{level: Metadata}]');
    const { audit } = await readAudit(options);
    assert.deepEqual([audit?.path, audit?.bytesMax, audit?.backupsMax], ['-', 1024 * 1024, 2]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
