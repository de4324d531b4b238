import assert from 'node:assert/strict';
import { test } from 'node:test';
import { throughProxy } from './proxied-urls.ts';

const prefix = '/api/v1/namespaces/a/pods/web/proxy';
const origin = { prefix, backendHost: '10.42.0.2:8080', requestHost: 'localhost:8001' };

const cases = [
  { url: '/x?y=1#z', want: `${prefix}/x?y=1#z` },
  { url: '/', want: `${prefix}/` },
  { url: `${prefix}/x`, want: `${prefix}/x` },
  { url: `${prefix}ied`, want: `${prefix}${prefix}ied` },
  { url: 'http://10.42.0.2:8080/x?y', want: `${prefix}/x?y` },
  { url: '//10.42.0.2:8080/x', want: `${prefix}/x` },
  { url: `http://10.42.0.2:8080${prefix}/x`, want: `${prefix}/x` },
  { url: 'http://localhost:8001/x', want: `http://localhost:8001${prefix}/x` },
  { url: '//localhost:8001/x', want: `//localhost:8001${prefix}/x` },
  { url: `https://localhost:8001${prefix}/x`, want: `https://localhost:8001${prefix}/x` },
  { url: 'http://10.42.0.2/x', want: 'http://10.42.0.2/x' },
  { url: 'http://10.42.0.2:8080', want: 'http://10.42.0.2:8080' },
  { url: 'https://example.org/x', want: 'https://example.org/x' },
  { url: '//example.org/x', want: '//example.org/x' },
  { url: '///x', want: '///x' },
  { url: 'x/y', want: 'x/y' },
  { url: '?page=/2', want: '?page=/2' },
  { url: 'mailto:a@example.org', want: 'mailto:a@example.org' },
  { url: '', want: '' },
] as const;

for (const { url, want } of cases) {
  test(`proxied URL ${JSON.stringify(url)}`, () => assert.equal(throughProxy(url, origin), want));
}

test('proxied URLs: a client that names no host owns none', () => {
  assert.equal(throughProxy('///x', { ...origin, requestHost: '' }), '///x');
});
