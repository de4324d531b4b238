import assert from 'node:assert/strict';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { stringAt } from '../../src/api/fields.ts';
import { isJsonObject, type JsonObject } from '../../src/api/object.ts';
import { decodeProtobufBody } from '../../src/apiserver/protobuf-body.ts';
import type { KeyPair } from '../../src/base/certificates.ts';
import { startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { eventually } from '../support/shell.ts';

/** The API server's protocol, byte by byte where it matters; kubectl is not needed. */

let server: TestApiServer;
const sessions = new Map<string, ClientHttp2Session>();

before(async () => {
  server = await startApiServer({ limits: { watchBufferBytesMax: 256 * 1024, bookmarkIntervalMs: 50 } });
});
after(async () => {
  for (const session of sessions.values()) session.close();
  await server.stop();
});

type Answer = {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: JsonObject;
};

type CallOptions = {
  readonly body?: unknown;
  readonly as?: KeyPair;
  readonly headers?: Readonly<Record<string, string>>;
};

function session(pair: KeyPair | undefined): ClientHttp2Session {
  const id = pair?.certificate ?? 'anonymous';
  const known = sessions.get(id);
  if (known !== undefined && !known.closed) return known;
  const made = connect(server.url, {
    ca: server.pki.server.caCert,
    ...(pair === undefined ? {} : { cert: pair.certificate, key: pair.key }),
  });
  made.on('error', () => {}); // each request reports its own failure
  sessions.set(id, made);
  return made;
}

function open(method: string, path: string, options: CallOptions & { readonly anonymous?: true } = {}) {
  const pair = options.anonymous === true ? undefined : (options.as ?? server.admin);
  const { body } = options;
  const stream = session(pair).request(
    { ':method': method, ':path': path, 'content-type': 'application/json', ...options.headers },
    { endStream: body === undefined },
  );
  if (body !== undefined) stream.end(typeof body === 'string' ? body : JSON.stringify(body));
  return stream;
}

async function call(
  method: string,
  path: string,
  options: CallOptions & { readonly anonymous?: true } = {},
): Promise<Answer> {
  const stream = open(method, path, options);
  let headers: Record<string, unknown> = {};
  stream.on('response', (received) => {
    headers = received;
  });
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  const parsed: unknown = text.startsWith('{') ? JSON.parse(text) : { text };
  assert.ok(isJsonObject(parsed));
  return { status: Number(headers[constants.HTTP2_HEADER_STATUS]), headers, body: parsed };
}

/** Reads watch events until `enough` says so, then closes the stream. */
async function watch(path: string, enough: (events: readonly JsonObject[]) => boolean, headers = {}) {
  const stream = open('GET', path, { headers });
  const events: JsonObject[] = [];
  let rest = '';
  for await (const chunk of stream) {
    rest += String(chunk);
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) events.push(JSON.parse(line) as JsonObject);
    if (enough(events)) break;
  }
  stream.close();
  return events;
}

function meta(object: unknown): JsonObject {
  assert.ok(isJsonObject(object));
  const { metadata } = object;
  assert.ok(isJsonObject(metadata));
  return metadata;
}

function configMap(name: string, data: Record<string, string> = {}, extra: JsonObject = {}) {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, ...extra }, data };
}

const maps = '/api/v1/namespaces/default/configmaps';

test('anonymous callers see health and version only', async () => {
  for (const path of ['/healthz', '/livez', '/readyz?verbose', '/version']) {
    assert.equal((await call('GET', path, { anonymous: true })).status, 200, path);
  }
  const refused = await call('GET', '/api/v1/pods', { anonymous: true });
  assert.equal(refused.status, 403);
  assert.match(stringAt(refused.body, 'message'), /User "system:anonymous" cannot list resource "pods"/);
  assert.equal((await call('GET', '/metrics', { anonymous: true })).status, 403);
  const bad = { headers: { authorization: 'Bearer nonsense' }, anonymous: true } as const;
  assert.equal((await call('GET', '/version', bad)).status, 401);
});

test('both HTTP versions are spoken, and what is malformed gets a Status', async () => {
  const http1 = await new Promise<number>((resolve, reject) => {
    httpsRequest(`${server.url}/api/v1/namespaces`, {
      ca: server.pki.server.caCert,
      cert: server.admin.certificate,
      key: server.admin.key,
    })
      .once('response', (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
      .once('error', reject)
      .end();
  });
  assert.equal(http1, 200);
  const cases = [
    ['POST', maps, '{', 400],
    ['POST', maps, '[]', 400],
    ['POST', maps, '{"kind":"Pod"}', 400],
    ['POST', maps, configMap('UPPER'), 422],
    ['POST', '/api/v1/configmaps', configMap('x'), 400],
    ['POST', `${maps}/x`, configMap('x'), 405],
    ['GET', `${maps}/..%2f..%2fsecrets`, undefined, 400],
    ['GET', `${maps}/%2e%2e`, undefined, 400],
    ['GET', '/api/v1/nothings', undefined, 404],
    ['GET', '/nowhere', undefined, 404],
    ['GET', `${maps}/missing`, undefined, 404],
    ['GET', `${maps}?labelSelector=a%20in`, undefined, 400],
    ['GET', `${maps}?fieldSelector=spec.x=1`, undefined, 400],
    ['GET', `${maps}?continue=nonsense`, undefined, 400],
    ['GET', `${maps}?watch=1&resourceVersion=x`, undefined, 400],
    ['DELETE', '/api/v1/namespaces/default', undefined, 403],
    ['OPTIONS', maps, undefined, 403],
  ] as const;
  for (const [method, path, body, status] of cases) {
    const answer = await call(method, path, { body });
    if (method === 'OPTIONS') continue;
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    assert.equal(answer.body['kind'], 'Status');
  }
});

test('bodies and answers that the server does not do are refused by their type', async () => {
  const large = await call('POST', maps, { body: configMap('big', { a: 'x'.repeat(4 * 1024 * 1024) }) });
  assert.equal(large.status, 413);
  const typed = (type: string, method = 'POST', path = maps) =>
    call(method, path, { body: configMap('typed'), headers: { 'content-type': type } });
  assert.equal((await typed('application/cbor')).status, 415);
  assert.equal(
    (await typed('application/strange-patch+json', 'PATCH', `${maps}/kube-root-ca.crt`)).status,
    415,
  );
  assert.equal((await call('GET', maps, { headers: { accept: 'text/html' } })).status, 406);
  const review = { spec: { nonResourceAttributes: { path: '/', verb: 'get' } } };
  const reviews = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const asked = async (accept: string): Promise<Answer> =>
    call('POST', reviews, { body: review, headers: { accept } });
  assert.equal(
    (await asked('application/json;as=Table;v=v1;g=meta.k8s.io')).status,
    406,
    'nobody lists reviews',
  );
  const protobuf = await asked('application/vnd.kubernetes.protobuf');
  assert.equal(protobuf.headers['content-type'], 'application/vnd.kubernetes.protobuf');
  const yaml = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\n';
  const made = await call('POST', maps, { body: yaml, headers: { 'content-type': 'application/yaml' } });
  assert.equal(made.status, 201);
});

test('unknown fields are warned of, refused or passed over as asked', async () => {
  const odd = { ...configMap('odd'), spec: {} };
  const warned = await call('POST', `${maps}?dryRun=All`, { body: odd });
  assert.equal(warned.status, 201);
  assert.match(String(warned.headers['warning']), /299 - "unknown field \\"spec\\""/);
  assert.equal((await call('POST', `${maps}?fieldValidation=Strict`, { body: odd })).status, 400);
  const ignored = await call('POST', `${maps}?dryRun=All&fieldValidation=Ignore`, { body: odd });
  assert.equal(ignored.headers['warning'], undefined);
  assert.equal((await call('GET', `${maps}/odd`)).status, 404, 'a dry run keeps nothing');
});

test('a conflict is told to those who name a revision, and solved for those who do not', async () => {
  const made = await call('POST', maps, { body: configMap('race', { n: '0' }) });
  const stale = stringAt(meta(made.body), 'resourceVersion');
  const patch = (data: JsonObject) =>
    call('PATCH', `${maps}/race`, {
      body: { data },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
  const all = await Promise.all(Array.from({ length: 6 }, (_unused, at) => patch({ [`k${at}`]: 'v' })));
  assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([200]));
  const { body } = await call('GET', `${maps}/race`);
  assert.equal(Object.keys(body['data'] as JsonObject).length, 7);
  const late = await call('PUT', `${maps}/race`, { body: configMap('race', {}, { resourceVersion: stale }) });
  assert.equal(late.status, 409);
  assert.match(stringAt(late.body, 'message'), /the object has been modified; please apply your changes/);
  const again = await call('PUT', `${maps}/race`, { body });
  assert.equal(meta(again.body)['resourceVersion'], meta(body)['resourceVersion'], 'no change, no write');
});

test('finalizers hold an object until the last is gone; preconditions guard a delete', async () => {
  const made = await call('POST', maps, {
    body: configMap('held', {}, { finalizers: ['example.com/hold'] }),
  });
  const wrong = await call('DELETE', `${maps}/held`, { body: { preconditions: { uid: 'other' } } });
  assert.equal(wrong.status, 409);
  const marked = await call('DELETE', `${maps}/held`, { body: { propagationPolicy: 'Foreground' } });
  assert.deepEqual(meta(marked.body)['finalizers'], ['example.com/hold', 'foregroundDeletion']);
  assert.notEqual(meta(marked.body)['deletionTimestamp'], undefined);
  const freed = await call('PATCH', `${maps}/held`, {
    body: { metadata: { finalizers: null } },
    headers: { 'content-type': 'application/merge-patch+json' },
  });
  assert.equal(freed.status, 200);
  assert.equal(meta(freed.body)['uid'], meta(made.body)['uid']);
  assert.equal((await call('GET', `${maps}/held`)).status, 404);
});

test('pages of a list show one moment, whatever happens between them', async () => {
  const names = ['page-a', 'page-b', 'page-c', 'page-d'];
  for (const name of names)
    await call('POST', maps, { body: configMap(name, {}, { labels: { set: 'pages' } }) });
  const first = await call('GET', `${maps}?labelSelector=set%3Dpages&limit=2`);
  await call('DELETE', `${maps}/page-c`);
  await call('POST', maps, { body: configMap('page-aa', {}, { labels: { set: 'pages' } }) });
  const token = stringAt(meta(first.body), 'continue');
  const second = await call('GET', `${maps}?labelSelector=set%3Dpages&limit=2&continue=${token}`);
  const seen = [first, second].flatMap(({ body }) =>
    (body['items'] as JsonObject[]).map((item) => meta(item)['name']),
  );
  assert.deepEqual(seen, names);
  assert.equal(meta(second.body)['continue'], undefined);
  assert.equal(meta(second.body)['resourceVersion'], meta(first.body)['resourceVersion']);
});

test('a watch resumes, follows a selector, and sends bookmarks', async () => {
  const { body } = await call('GET', maps);
  const from = stringAt(meta(body), 'resourceVersion');
  await call('POST', maps, { body: configMap('w', {}, { labels: { on: 'yes' } }) });
  const patch = (labels: JsonObject) =>
    call('PATCH', `${maps}/w`, {
      body: { metadata: { labels } },
      headers: { 'content-type': 'application/merge-patch+json' },
    });
  await patch({ more: '1' });
  await patch({ on: 'no' });
  await patch({ on: 'yes' });
  await call('DELETE', `${maps}/w`);
  const events = await watch(
    `${maps}?watch=1&allowWatchBookmarks=true&labelSelector=on%3Dyes&resourceVersion=${from}`,
    (seen) => seen.some(({ type }) => type === 'BOOKMARK'),
  );
  assert.deepEqual(
    events.map(({ type }) => type).slice(0, 6), // a second bookmark may have come with the first
    ['ADDED', 'MODIFIED', 'DELETED', 'ADDED', 'DELETED', 'BOOKMARK'],
  );
  const revisions = events.map(({ object }) => Number(meta(object)['resourceVersion']));
  assert.deepEqual(
    revisions,
    revisions.toSorted((a, b) => a - b),
  );
});

test('a streamed list ends with its bookmark, as object, table and metadata', async () => {
  const path = `${maps}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`;
  const ended = (seen: readonly JsonObject[]): boolean => seen.some(({ type }) => type === 'BOOKMARK');
  const forms = [
    ['application/json', 'ConfigMap'],
    ['application/json;as=Table;v=v1;g=meta.k8s.io', 'Table'],
    ['application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io', 'PartialObjectMetadata'],
  ] as const;
  for (const [accept, kind] of forms) {
    const events = await watch(path, ended, { accept });
    assert.ok(events.length > 1);
    for (const { object } of events) assert.equal((object as JsonObject)['kind'], kind);
    assert.deepEqual(meta(events.at(-1)?.['object'])['annotations'], { 'k8s.io/initial-events-end': 'true' });
  }
});

test('a watch from a revision that is no longer known ends with 410', async () => {
  const events = await watch(`${maps}?watch=1&resourceVersion=99999999`, () => false);
  assert.deepEqual(
    events.map(({ type, object }) => [
      type,
      (object as JsonObject)['code'],
      (object as JsonObject)['reason'],
    ]),
    [['ERROR', 410, 'Expired']],
  );
});

test('a watcher that does not read is cut off, and nobody else notices', async () => {
  const { body } = await call('GET', maps);
  const from = stringAt(meta(body), 'resourceVersion');
  const slow = connect(server.url, {
    ca: server.pki.server.caCert,
    cert: server.admin.certificate,
    key: server.admin.key,
  });
  slow.on('error', () => {});
  const stream = slow.request({ ':path': `${maps}?watch=1&resourceVersion=${from}` });
  stream.on('error', () => {});
  const closed = new Promise((resolve) => void stream.once('close', resolve));
  stream.pause();
  await new Promise((resolve) => void stream.once('response', resolve));
  const filler = 'x'.repeat(100_000);
  for (let at = 0; at < 20; at++) await call('POST', maps, { body: configMap(`fill-${at}`, { filler }) });
  stream.resume();
  await closed;
  slow.close();
  assert.equal((await call('GET', `${maps}/fill-19`)).status, 200);
});

test('tables and metadata of lists', async () => {
  const table = await call('GET', '/api/v1/namespaces', {
    headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
  });
  assert.equal(table.body['kind'], 'Table');
  assert.deepEqual(
    (table.body['rows'] as JsonObject[]).map((row) => (row['cells'] as string[])[0]),
    ['default', 'kube-node-lease', 'kube-public', 'kube-system'],
  );
  const partial = await call('GET', '/api/v1/namespaces', {
    headers: { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' },
  });
  assert.equal(partial.body['kind'], 'PartialObjectMetadataList');
});

test('a new namespace can be used at once, one that goes away not any more', async () => {
  await call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'fresh' } } });
  const pod = { metadata: { name: 'p' }, spec: { containers: [{ name: 'a', image: 'x' }] } };
  const made = await call('POST', '/api/v1/namespaces/fresh/pods', { body: pod });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  assert.equal((await call('GET', '/api/v1/namespaces/fresh/configmaps/kube-root-ca.crt')).status, 200);
  const marked = await call('DELETE', '/api/v1/namespaces/fresh');
  assert.equal((marked.body['status'] as JsonObject)['phase'], 'Terminating');
  const late = await call('POST', '/api/v1/namespaces/fresh/configmaps', { body: configMap('x') });
  assert.equal(late.status, 403);
  assert.match(stringAt(late.body, 'message'), /because it is being terminated/);
  const finalized = await call('PUT', '/api/v1/namespaces/fresh/finalize', {
    body: { ...marked.body, spec: { finalizers: [] } },
  });
  assert.equal(finalized.status, 200);
  assert.equal((await call('GET', '/api/v1/namespaces/fresh')).status, 404);
});

test('an Ingress gets the default class; two defaults are refused', async () => {
  const group = '/apis/networking.k8s.io/v1';
  const cls = (name: string) => ({
    metadata: { name, annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
    spec: { controller: 'example.com/c' },
  });
  const ingress = (name: string) => ({
    metadata: { name },
    spec: { defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
  });
  await call('POST', `${group}/ingressclasses`, { body: cls('one') });
  const filled = await call('POST', `${group}/namespaces/default/ingresses`, { body: ingress('i1') });
  assert.equal((filled.body['spec'] as JsonObject)['ingressClassName'], 'one');
  await call('POST', `${group}/ingressclasses`, { body: cls('two') });
  const refused = await call('POST', `${group}/namespaces/default/ingresses`, { body: ingress('i2') });
  assert.equal(refused.status, 403);
  assert.match(stringAt(refused.body, 'message'), /2 default IngressClasses were found, only 1 allowed/);
});

test('a node reaches only what is its own', async () => {
  const n1 = await server.pki.client('system:node:n1', ['system:nodes']);
  const nodes = '/api/v1/nodes';
  assert.equal((await call('POST', nodes, { as: n1, body: { metadata: { name: 'n1' } } })).status, 201);
  assert.equal((await call('POST', nodes, { as: n1, body: { metadata: { name: 'n2' } } })).status, 403);
  assert.equal((await call('DELETE', `${maps}/kube-root-ca.crt`, { as: n1 })).status, 403);
  assert.equal((await call('GET', nodes, { as: n1 })).status, 200);
});

test('nobody gives away rights that he does not have', async () => {
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  await call('POST', `${rbac}/namespaces/default/rolebindings`, {
    body: {
      metadata: { name: 'ann-admin' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'ann' }],
    },
  });
  const ann = await server.pki.client('ann');
  const role = (resources: readonly string[]) => ({
    metadata: { name: `role-${resources[0]}` },
    rules: [{ apiGroups: [''], resources, verbs: ['get'] }],
  });
  const roles = `${rbac}/namespaces/default/roles`;
  assert.equal((await call('POST', roles, { as: ann, body: role(['pods']) })).status, 201);
  const refused = await call('POST', roles, { as: ann, body: role(['nodes']) });
  assert.equal(refused.status, 403);
  assert.match(stringAt(refused.body, 'message'), /attempting to grant RBAC permissions not currently held/);
});

test('what is made under load is seen by everyone in one order', async () => {
  const watching = watch(
    `${maps}?watch=1&labelSelector=load%3Dyes`,
    (seen) => seen.filter(({ type }) => type === 'ADDED').length === 200,
  );
  await Promise.all(
    Array.from({ length: 200 }, (_unused, at) =>
      call('POST', maps, { body: configMap(`load-${at}`, {}, { labels: { load: 'yes' } }) }),
    ),
  );
  const revisions = (await watching).map(({ object }) => Number(meta(object)['resourceVersion']));
  assert.equal(new Set(revisions).size, 200);
  const gone = await call('DELETE', `${maps}?labelSelector=load%3Dyes`);
  assert.equal((gone.body['items'] as JsonObject[]).length, 200);
  await eventually(async () => {
    const left = await call('GET', `${maps}?labelSelector=load%3Dyes`);
    assert.equal((left.body['items'] as JsonObject[]).length, 0);
  });
});

test('protobuf: objects, lists, watches and their ends, for the clients that ask for it', async () => {
  const accept = { accept: 'application/vnd.kubernetes.protobuf,application/json' };
  const got = await rawCall(`${maps}/kube-root-ca.crt`, accept);
  assert.equal(got.contentType, 'application/vnd.kubernetes.protobuf');
  const one = decodeProtobufBody(got.body, 'core/v1.ConfigMap');
  assert.equal(stringAt(one, 'metadata', 'name'), 'kube-root-ca.crt');
  assert.match(stringAt(one, 'data', 'ca.crt'), /BEGIN CERTIFICATE/);
  assert.equal(
    stringAt(one, 'metadata', 'resourceVersion'),
    stringAt((await call('GET', `${maps}/kube-root-ca.crt`)).body, 'metadata', 'resourceVersion'),
  );

  const list = await rawCall(maps, accept);
  assert.equal(list.body.subarray(0, 4).toString('latin1'), 'k8s\0');
  assert.ok(list.body.includes('ConfigMapList'));

  const watched = await rawCall(`${maps}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true`, accept);
  assert.equal(watched.contentType, 'application/vnd.kubernetes.protobuf;stream=watch');
  let frames = 0;
  for (let at = 0; at < watched.body.length; frames++) at += 4 + watched.body.readUInt32BE(at);
  assert.ok(frames > 0);
  assert.equal(watched.body.subarray(4, 11).toString('latin1'), '\n\x05ADDED');

  const table = {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/vnd.kubernetes.protobuf',
  };
  assert.match((await rawCall(maps, table)).contentType, /^application\/json;.*as=Table/);
});

test('large answers are compressed for clients that take gzip', async () => {
  await call('POST', maps, { body: configMap('large', { a: 'x'.repeat(300_000) }) });
  const plain = await rawCall(`${maps}/large`, {});
  const packed = await rawCall(`${maps}/large`, { 'accept-encoding': 'gzip' });
  assert.ok(packed.body.length < plain.body.length / 10);
  assert.deepEqual(gunzipSync(packed.body), plain.body);
  const refused = await rawCall(`${maps}/large`, { 'accept-encoding': 'gzip;q=0' });
  assert.deepEqual(refused.body, plain.body);
  await call('DELETE', `${maps}/large`);
});

async function rawCall(
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ readonly contentType: string; readonly body: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(
      `${server.url}${path}`,
      { headers, ca: server.pki.server.caCert, cert: server.admin.certificate, key: server.admin.key },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.once('end', () =>
          resolve({ contentType: answer.headers['content-type'] ?? '', body: Buffer.concat(chunks) }),
        );
      },
    );
    sent.once('error', reject);
    sent.end();
  });
}
