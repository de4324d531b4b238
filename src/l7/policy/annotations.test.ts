import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectKey } from '../../api/object.ts';
import { type ParsedAnnotations, parseAnnotations } from './annotations.ts';

function parse(annotations: Readonly<Record<string, string>>): ParsedAnnotations {
  const long = Object.entries(annotations).map(([name, value]) => [`fairlead.dev/${name}`, value]);
  return parseAnnotations(objectKey('default', 'web'), Object.fromEntries(long));
}

test('l7 annotations: those of others and none at all ask for nothing', () => {
  const key = objectKey('default', 'web');
  const foreign = { 'nginx.ingress.kubernetes.io/rewrite-target': '/', note: 'x' };
  assert.deepEqual(parseAnnotations(key, foreign), parseAnnotations(key, undefined));
  assert.equal(parseAnnotations(key, foreign).policy, undefined);
});

test('l7 annotations: a value that only says "off" makes no policy', () => {
  assert.equal(parse({ 'ssl-redirect': 'false', 'enable-cors': 'false', canary: 'false' }).policy, undefined);
});

test('l7 annotations: each timeout and the body size become limits', () => {
  const limits = (name: string, value: string): unknown => parse({ [name]: value }).policy?.limits;
  assert.deepEqual(limits('connect-timeout', '2'), { upstreamConnectTimeoutMs: 2000 });
  assert.deepEqual(limits('send-timeout', '500ms'), { upstreamSendTimeoutMs: 500 });
  assert.deepEqual(limits('read-timeout', '2m'), {
    upstreamHeaderTimeoutMs: 120_000,
    upstreamBodyTimeoutMs: 120_000,
  });
  assert.deepEqual(limits('body-size', '8m'), { requestBodyBytesMax: 8 * 1024 * 1024 });
  assert.deepEqual(limits('body-size', '0'), { requestBodyBytesMax: Number.MAX_SAFE_INTEGER });
});

test('l7 annotations: an unclear rule about who gets in lets nobody in', () => {
  for (const name of ['allow-source-range', 'deny-source-range']) {
    const { policy, problems } = parse({ [name]: '10.0.0.0/8, nonsense' });
    assert.deepEqual(policy?.sources, { allow: [], deny: [] });
    assert.equal(problems.length, 1);
  }
  assert.deepEqual(parse({ 'basic-auth-secret': 'No Name' }).basicAuth, {
    secret: undefined,
    realm: 'Authentication required',
  });
});

test('l7 annotations: credentials are for named origins only', () => {
  const { policy, problems } = parse({ 'enable-cors': 'true', 'cors-allow-credentials': 'true' });
  assert.equal(policy?.cors?.credentials, false);
  assert.equal(problems.length, 1);
});

test('l7 annotations: statuses that give way and the Service that is told of them go together', () => {
  const { errorPages, problems } = parse({ 'error-codes': '404, 503', 'error-service': 'pages:http' });
  assert.deepEqual(errorPages, { codes: new Set([404, 503]), service: { service: 'pages', port: 'http' } });
  assert.deepEqual(problems, []);
  for (const bad of [
    { 'error-codes': '404' },
    { 'error-service': 'pages' },
    { 'error-codes': '499', 'error-service': 'pages' },
    { 'error-codes': '200', 'error-service': 'pages' },
  ]) {
    const parsed = parse(bad);
    assert.equal(parsed.errorPages, undefined);
    assert.notEqual(parsed.problems.length, 0);
  }
});

test('l7 annotations: clients cannot choose who decides about them', () => {
  const targetOf = (url: string): unknown => parse({ 'auth-url': url }).forwardAuth?.target?.at;
  assert.equal(targetOf('https://$host/check'), 'itself');
  assert.equal(targetOf('$scheme://${http_host}/check?x=$arg_x'), 'itself');
  assert.deepEqual(targetOf('http://auth.web.svc:8080/check'), {
    tls: false,
    authority: 'auth.web.svc:8080',
    hostname: 'auth.web.svc',
    port: 8080,
    path: '/',
    service: { namespace: 'web', name: 'auth' },
  });
  for (const url of [
    'http://$http_x/check',
    'http://$host.example/check',
    'http://$host:8080/check',
    '$scheme://auth.example/check',
    'http://auth.example/#x',
    'http://auth.example/$nothing',
  ]) {
    assert.equal(targetOf(url), undefined, url);
  }
});

test('l7 annotations: weights of Services, each once, not all zero', () => {
  const weights = (value: string): unknown => parse({ 'backend-weights': value }).backends.weights;
  assert.deepEqual(weights('web-v1=80, web-v2=20'), [
    { service: 'web-v1', weight: 80 },
    { service: 'web-v2', weight: 20 },
  ]);
  assert.deepEqual(weights('a=0,b=1'), [
    { service: 'a', weight: 0 },
    { service: 'b', weight: 1 },
  ]);
  const many = Array.from({ length: 17 }, (_, index) => `a${index}=1`).join(',');
  for (const bad of ['a=0', 'a', 'a=1,a=2', 'a=-1', 'a=1.5', 'a=1000001', 'A=1', 'a:80=1', '', many]) {
    assert.equal(weights(bad), undefined, bad);
    assert.equal(parse({ 'backend-weights': bad }).problems.length, 1, bad);
  }
});
