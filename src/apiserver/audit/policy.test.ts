import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequest, type RequestInfo } from '../request-info.ts';
import { type AuditPolicy, decide, parseAuditPolicy } from './policy.ts';

function policyOf(...rules: readonly object[]): AuditPolicy {
  const policy = parseAuditPolicy({
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived'],
    rules: rules.map((rule) => ({ ...rule })),
  });
  assert.ok('rules' in policy, JSON.stringify(policy));
  return policy;
}

function request(line: string): RequestInfo {
  const [method = '', url = ''] = line.split(' ');
  const [path = '', query = ''] = url.split('?');
  const info = parseRequest(method, path, new URLSearchParams(query));
  assert.ok(info !== undefined);
  return info;
}

const eve = { name: 'eve', uid: '', groups: ['dev', 'system:authenticated'], extra: {} };
const log = 'GET /api/v1/namespaces/a/pods/p/log';

const rows: readonly (readonly [rule: object, line: string, fits: boolean])[] = [
  [{}, 'GET /api/v1/pods', true],
  [{ users: ['eve'] }, 'GET /api/v1/pods', true],
  [{ users: ['adam'] }, 'GET /api/v1/pods', false],
  [{ users: ['eve'], userGroups: ['ops'] }, 'GET /api/v1/pods', false],
  [{ userGroups: ['ops', 'dev'] }, 'GET /api/v1/pods', true],
  [{ verbs: ['list'] }, 'GET /api/v1/pods', true],
  [{ verbs: ['list'] }, 'GET /api/v1/pods?watch=1', false],
  [{ verbs: ['deletecollection'] }, 'DELETE /api/v1/namespaces/a/pods', true],
  [{ namespaces: ['a'] }, 'GET /api/v1/namespaces/a/pods', true],
  [{ namespaces: ['a'] }, 'GET /api/v1/namespaces/b/pods', false],
  [{ namespaces: [''] }, 'GET /api/v1/nodes', true],
  [{ namespaces: [''] }, 'GET /version', false],
  [{ resources: [{ group: '', resources: ['pods'] }] }, 'GET /api/v1/namespaces/a/pods/p', true],
  [{ resources: [{ group: '', resources: ['pods'] }] }, log, false],
  [{ resources: [{ group: '', resources: ['pods/log'] }] }, log, true],
  [{ resources: [{ group: '', resources: ['pods/*'] }] }, log, true],
  [{ resources: [{ group: '', resources: ['*/log'] }] }, log, true],
  [{ resources: [{ group: '', resources: ['*/scale'] }] }, log, false],
  [{ resources: [{ group: '', resources: ['*'] }] }, log, true],
  [{ resources: [{ group: '' }] }, log, true],
  [{ resources: [{ group: 'apps' }] }, log, false],
  [{ resources: [{ group: 'apps' }] }, 'GET /apis/apps/v1/deployments', true],
  [{ resources: [{ resources: ['pods'], resourceNames: ['p'] }] }, 'GET /api/v1/namespaces/a/pods/q', false],
  [{ resources: [{ resources: ['pods'], resourceNames: ['p'] }] }, 'GET /api/v1/namespaces/a/pods/p', true],
  [{ nonResourceURLs: ['/healthz*'] }, 'GET /healthz/ping', true],
  [{ nonResourceURLs: ['/healthz/*'] }, 'GET /healthz', true],
  [{ nonResourceURLs: ['/healthz'] }, 'GET /version', false],
  [{ nonResourceURLs: ['*'] }, 'GET /version', true],
  [{ nonResourceURLs: ['*'] }, 'GET /api/v1/pods', false],
];

for (const [rule, line, fits] of rows) {
  test(`${JSON.stringify(rule)} ${fits ? 'fits' : 'does not fit'} ${line}`, () => {
    const { level } = decide(policyOf({ level: 'Metadata', ...rule }), eve, request(line));
    assert.equal(level, fits ? 'Metadata' : 'None');
  });
}

test('the first rule that fits decides, None too', () => {
  const policy = policyOf({ level: 'None', verbs: ['get'] }, { level: 'Request', omitManagedFields: true });
  assert.equal(decide(policy, eve, request('GET /api/v1/nodes/n')).level, 'None');
  const { level, omitStages, omitManagedFields } = decide(policy, eve, request('POST /api/v1/nodes'));
  assert.deepEqual([level, omitStages, omitManagedFields], ['Request', ['RequestReceived'], true]);
});

test('what is no policy is told by field', () => {
  const told = parseAuditPolicy({
    apiVersion: 'v1',
    kind: 'Policy',
    omitStages: ['Never'],
    rules: [
      {},
      { level: 'All' },
      { level: 'None', nonResourceURLs: ['healthz', '/a*b'], resources: [{ group: '' }] },
      { level: 'None', resources: [{ resourceNames: ['a'] }] },
    ],
  });
  assert.ok(!('rules' in told));
  assert.deepEqual(
    told.map(({ field }) => field),
    [
      'apiVersion',
      'omitStages[0]',
      'rules[0].level',
      'rules[1].level',
      'rules[2].nonResourceURLs',
      'rules[2].nonResourceURLs[0]',
      'rules[2].nonResourceURLs[1]',
      'rules[3].resources[0].resourceNames',
    ],
  );
});
