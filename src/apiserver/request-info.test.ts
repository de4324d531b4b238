import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseRequest, selectedName } from './request-info.ts';

const cases = [
  { request: 'GET /api/v1/pods', want: 'list //v1/pods ns= name= sub=' },
  { request: 'GET /api/v1/pods?watch=true', want: 'watch //v1/pods ns= name= sub=' },
  { request: 'GET /api/v1/pods?watch=0', want: 'list //v1/pods ns= name= sub=' },
  { request: 'GET /api/v1/namespaces/a/pods/b', want: 'get //v1/pods ns=a name=b sub=' },
  { request: 'GET /api/v1/namespaces/a/pods/b/log', want: 'get //v1/pods ns=a name=b sub=log' },
  {
    request: 'POST /apis/apps/v1/namespaces/a/deployments',
    want: 'create /apps/v1/deployments ns=a name= sub=',
  },
  {
    request: 'PUT /apis/apps/v1/namespaces/a/deployments/b/scale',
    want: 'update /apps/v1/deployments ns=a name=b sub=scale',
  },
  { request: 'PATCH /api/v1/nodes/n/status', want: 'patch //v1/nodes ns= name=n sub=status' },
  { request: 'DELETE /api/v1/namespaces/a/pods', want: 'deletecollection //v1/pods ns=a name= sub=' },
  { request: 'DELETE /api/v1/namespaces/a', want: 'delete //v1/namespaces ns=a name=a sub=' },
  { request: 'PUT /api/v1/namespaces/a/finalize', want: 'update //v1/namespaces ns=a name=a sub=finalize' },
  { request: 'GET /api/v1/namespaces', want: 'list //v1/namespaces ns= name= sub=' },
  { request: 'GET /api/v1/namespaces/a/pods/b%3Ac', want: 'get //v1/pods ns=a name=b:c sub=' },
  { request: 'GET /api/v1/namespaces/a/pods/b:80/proxy', want: 'get //v1/pods ns=a name=b:80 sub=proxy' },
  {
    request: 'GET /api/v1/namespaces/a/services/https:b:c/proxy/x%2Fy/../%zz?watch=1',
    want: 'get //v1/services ns=a name=https:b:c sub=proxy',
  },
  { request: 'GET /api/v1/namespaces/../services/b/proxy/x', want: 'refused' },
  { request: 'PUT /api/v1/nodes/n/proxy/a', want: 'update //v1/nodes ns= name=n sub=proxy' },
  { request: 'GET /api/v1', want: 'path get' },
  { request: 'GET /apis/apps/v1', want: 'path get' },
  { request: 'GET /healthz', want: 'path get' },
  { request: 'GET /api/v1/namespaces/a/pods/..', want: 'refused' },
  { request: 'GET /api/v1/namespaces/a/pods/%2e%2e', want: 'refused' },
  { request: 'GET /api/v1/namespaces/a%2fb/pods', want: 'refused' },
  { request: 'GET /api/v1/pods/%zz', want: 'refused' },
] as const;

for (const { request, want } of cases) {
  test(`request path: ${request}`, () => {
    const [method = '', target = ''] = request.split(' ');
    const [path = '', query = ''] = target.split('?');
    assert.equal(shown(parseRequest(method, path, new URLSearchParams(query))), want);
  });
}

function shown(info: ReturnType<typeof parseRequest>): string {
  if (info === undefined) return 'refused';
  if (info.kind === 'path') return `path ${info.verb}`;
  const { verb, group, version, plural, namespace, name, subresource } = info;
  return `${verb} /${group}/${version}/${plural} ns=${namespace} name=${name} sub=${subresource}`;
}

test('request path: any text is taken apart or refused, and no part leads elsewhere', () => {
  fc.assert(
    fc.property(fc.webPath(), fc.string(), (path, tail) => {
      const info = parseRequest('GET', `${path}/${tail}`, new URLSearchParams());
      if (info?.kind !== 'resource') return;
      for (const part of [info.plural, info.namespace, info.name, info.subresource, ...info.rest]) {
        assert.ok(!part.includes('/') && part !== '..' && part !== '.');
      }
    }),
  );
});

const selections: readonly (readonly [method: string, target: string, name: string])[] = [
  ['GET', '/api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx', 'x'],
  ['GET', '/api/v1/namespaces/a/configmaps?watch=1&fieldSelector=metadata.name%3D%3Dx,type%3Dy', 'x'],
  ['DELETE', '/api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx', 'x'],
  ['GET', '/api/v1/namespaces/a/configmaps?fieldSelector=metadata.name!%3Dx', ''],
  ['GET', '/api/v1/namespaces/a/configmaps?fieldSelector=nonsense', ''],
  ['GET', '/api/v1/namespaces/a/configmaps', ''],
  ['GET', '/api/v1/namespaces/a/configmaps/y?fieldSelector=metadata.name%3Dx', ''],
  ['POST', '/api/v1/namespaces/a/configmaps?fieldSelector=metadata.name%3Dx', ''],
];

test('request path: a collection of one object, by its name, is that object to authorization', () => {
  for (const [method, target, name] of selections) {
    const { pathname, searchParams } = new URL(target, 'http://localhost');
    const info = parseRequest(method, pathname, searchParams);
    assert.ok(info !== undefined);
    assert.equal(selectedName(info, searchParams), name, `${method} ${target}`);
  }
});
