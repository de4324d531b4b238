import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { gzipSync } from 'node:zlib';
import { connect as tlsConnect } from 'node:tls';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { endpointSlices, nodes, pods, services } from '../../src/api/resource.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { enterNewNetworkNamespace } from '../support/namespace.ts';
import { run, runOk } from '../support/shell.ts';
import { type SpdyKubelet, startSpdyKubelet } from '../support/spdy-kubelet.ts';

/** pods/proxy, services/proxy and nodes/proxy with kubectl, in a namespace of this process's own that has a Pod's address. */

const podAddress = '10.42.9.5';
const [kubectl] = findKubectls().slice(-1);
const missing = kubectl === undefined ? 'no kubectl on PATH' : await enterNewNetworkNamespace();
const skip = missing ?? false;

let server: TestApiServer;
let kubeconfig: string;
let kubelet: SpdyKubelet;
let backend: Server;

before(async () => {
  if (skip !== false) return;
  await runOk('ip', ['link', 'set', 'lo', 'up']);
  await runOk('ip', ['address', 'add', `${podAddress}/32`, 'dev', 'lo']);
  server = await startApiServer();
  kubeconfig = server.kubeconfig('admin', server.admin);
  backend = createServer((request, response) => {
    if (request.url === '/absolute') {
      const { localAddress, localPort } = request.socket;
      const own = `http://${localAddress}:${localPort}`;
      const html = `<a href="${own}/next"><a href="http://${request.headers.host}/next"><a href="http://example.org/">`;
      response.writeHead(200, { 'content-type': 'text/html', location: `${own}/login` }).end(html);
      return;
    }
    if (request.url === '/away') {
      response.writeHead(302, { location: '/login?x=1' }).end();
      return;
    }
    if (request.url?.startsWith('/page') === true) {
      const html = Buffer.from('<a href="/next">grüße</a>');
      const packed = request.url.endsWith('?gzip') ? { 'content-encoding': 'gzip' } : {};
      const page = 'content-encoding' in packed ? gzipSync(html) : html;
      const type = request.url.startsWith('/page.txt') ? 'text/plain' : 'text/html; charset=utf-8';
      response.writeHead(200, { 'content-type': type, 'content-length': page.length, ...packed }).end(page);
      return;
    }
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      const { authorization = 'none' } = request.headers;
      response.writeHead(request.url === '/teapot' ? 418 : 200, { 'set-cookie': ['a=1', 'b=2'] });
      response.end(`${request.method} ${request.url} auth=${authorization} body=${body}`);
    });
  });
  const echo = new WebSocketServer({ server: backend });
  echo.on('connection', (socket) => socket.on('message', (data) => socket.send(data, { binary: false })));
  await new Promise<void>((resolve) => void backend.listen(8080, podAddress, resolve));
  kubelet = await startSpdyKubelet(server.pki, 1);
  await createObjects();
});
after(async () => {
  if (skip !== false) return;
  await kubelet.stop();
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  await server.stop();
});

async function createObjects(): Promise<void> {
  const client = createApiClient(await loadKubeconfig(kubeconfig));
  const address = { type: 'InternalIP', address: '127.0.0.1' };
  const daemonEndpoints = { kubeletEndpoint: { Port: kubelet.port } };
  await client.create(nodes, { metadata: { name: 'n1' }, status: { addresses: [address], daemonEndpoints } });
  await client.create(pods, {
    metadata: { namespace: 'default', name: 'web' },
    spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'x', ports: [{ containerPort: 8080 }] }] },
  });
  const status = { phase: 'Running', podIP: podAddress };
  await client.patch(pods, 'default', 'web', 'merge', { status }, { subresource: 'status' });
  await client.create(services, {
    metadata: { namespace: 'default', name: 'web' },
    spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  });
  await client.create(endpointSlices, {
    metadata: {
      namespace: 'default',
      name: 'web-1',
      labels: { 'kubernetes.io/service-name': 'web' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [podAddress], conditions: { ready: true } }],
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  });
  client.close();
}

const root = '/api/v1/namespaces/default';

function raw(path: string): Promise<string> {
  return runOk(kubectl?.path ?? '', ['--kubeconfig', kubeconfig, 'get', '--raw', path]);
}

test('kubectl get --raw reaches Pods, Services and nodes through proxy', { skip }, async () => {
  const got = async (path: string): Promise<string> => (await raw(path)).trim();
  assert.equal(await got(`${root}/pods/web/proxy/a/b?c=d%2Be`), 'GET /a/b?c=d%2Be auth=none body=');
  assert.equal(await got(`${root}/pods/web:8080/proxy/?watch=true`), 'GET /?watch=true auth=none body=');
  assert.equal(await got(`${root}/services/web:http/proxy/x/y`), 'GET /x/y auth=none body=');
  assert.equal(await got(`${root}/services/http:web:80/proxy/`), 'GET / auth=none body=');
  assert.equal(await got('/api/v1/nodes/n1/proxy/healthz'), 'kubelet GET /healthz');
  assert.equal(await got(`/api/v1/nodes/n1:${kubelet.port}/proxy/pods`), 'kubelet GET /pods');
  // Without a path: a redirect to the slash, which kubectl follows.
  assert.equal(await got(`${root}/pods/web/proxy`), 'GET / auth=none body=');
});

test('what cannot be proxied is a Status that kubectl prints', { skip }, async () => {
  const told = async (path: string): Promise<string> =>
    (await run(kubectl?.path ?? '', ['--kubeconfig', kubeconfig, 'get', '--raw', path])).stderr.trim();
  assert.match(await told(`${root}/pods/none/proxy/`), /pods "none" not found/);
  assert.match(await told(`${root}/services/web:9/proxy/`), /no service port 9 found for service "web"/);
  assert.match(await told(`${root}/pods/web:1/proxy/`), /error trying to reach service: .*ECONNREFUSED/);
  assert.match(await told(`${root}/pods/a:b:c:d/proxy/`), /invalid pod request "a:b:c:d"/);
  assert.match(await told('/api/v1/nodes/n1:80/proxy/'), /address not allowed/);
});

test('kubectl proxy: methods, bodies, codes, cookies, redirects, links and WebSockets go through', {
  skip,
}, async () => {
  const proxy = spawn(kubectl?.path ?? '', ['--kubeconfig', kubeconfig, 'proxy', '--port=0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const lines = createInterface({ input: proxy.stdout })[Symbol.asyncIterator]();
    const { value = '' } = await lines.next();
    const port = /127\.0\.0\.1:(\d+)/.exec(value)?.[1];
    const base = `http://127.0.0.1:${port}${root}/services/web:http/proxy`;
    const posted = await fetch(`${base}/form`, { method: 'POST', body: 'hello' });
    assert.equal(await posted.text(), 'POST /form auth=none body=hello');
    assert.deepEqual(posted.headers.getSetCookie(), ['a=1', 'b=2']);
    assert.equal((await fetch(`${base}/teapot`)).status, 418);
    const big = 'x'.repeat(8 * 1024 * 1024);
    const echoed = await (await fetch(`${base}/big`, { method: 'PUT', body: big })).text();
    assert.equal(echoed.length, 'PUT /big auth=none body='.length + big.length);
    const away = await fetch(`${base}/away`, { redirect: 'manual' });
    assert.equal(away.headers.get('location'), `${root}/services/web:http/proxy/login?x=1`);
    const page = async (path: string): Promise<string> => (await fetch(`${base}${path}`)).text();
    const linked = `<a href="${root}/services/web:http/proxy/next">grüße</a>`;
    assert.equal(await page('/page'), linked);
    assert.equal(await page('/page?gzip'), linked);
    assert.equal(await page('/page.txt'), '<a href="/next">grüße</a>');
    const absolute = await fetch(`${base}/absolute`);
    const prefix = `${root}/services/web:http/proxy`;
    assert.equal(absolute.headers.get('location'), `${prefix}/login`);
    const host = new URL(server.url).host;
    assert.equal(
      await absolute.text(),
      `<a href="${prefix}/next"><a href="http://${host}${prefix}/next"><a href="http://example.org/">`,
    );
    const socket = new WebSocket(`${base.replace('http:', 'ws:')}/chat`);
    await once(socket, 'open');
    socket.send('hi');
    assert.equal(String((await once(socket, 'message'))[0]), 'hi');
    socket.close();
    await once(socket, 'close');
  } finally {
    proxy.kill();
    await once(proxy, 'close');
  }
});

test('a client whose upgrade the kubelet refuses cannot go on over our connection', { skip }, async () => {
  const socket = tlsConnect({
    host: '127.0.0.1',
    port: server.port,
    ca: server.pki.server.caCert,
    cert: server.admin.certificate,
    key: server.admin.key,
    ALPNProtocols: ['http/1.1'],
  });
  await once(socket, 'secureConnect');
  socket.write(
    `POST ${root}/pods/web/exec?command=refuse&stdout=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n`,
  );
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    if (text === '') socket.write('GET /pods HTTP/1.1\r\nHost: x\r\n\r\n');
    text += chunk.toString();
  });
  socket.on('error', () => {}); // a write behind the end of the connection may be reset
  await once(socket, 'close');
  assert.match(text, /^HTTP\/1\.1 403 Forbidden\r\n/);
  assert.ok(text.endsWith('no'), text);
  assert.ok(!kubelet.seen.includes('smuggled'));
});
