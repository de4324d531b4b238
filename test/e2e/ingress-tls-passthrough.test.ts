/** TLS that passes through, beside TLS that ends here on the same port; and nginx's reading of the same first messages. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { endpointSlices, events, ingressClasses, ingresses, services } from '../../src/api/resource.ts';
import { HelloReader } from '../../src/l7/passthrough/hello-reader.ts';
import type { AccessRecord } from '../../src/l7/proxy/context.ts';
import { defaultLimits } from '../../src/l7/proxy/limits.ts';
import { parseProxyHeader } from '../../src/l7/transport/proxy-protocol.ts';
import { helloCorpus, mutateHello } from '../support/client-hellos.ts';
import { FakeApi } from '../support/fake-api.ts';
import { randomOf } from '../support/http1-corpus.ts';
import { createTestPki } from '../support/pki.ts';
import { freePort } from '../support/ports.ts';
import { annotated, ask } from './annotation-harness.ts';
import {
  closed,
  curl,
  localhost,
  ourClass,
  service,
  slice,
  startBackend,
  startIngress,
  until,
} from './ingress-harness.ts';

const options = { timeout: 300_000 };
const pki = await createTestPki();
const serving = await pki.serving('db');
const bodyBytes = 8 << 20;

/** Speaks TLS itself and gives back what it is told; `heads` are the PROXY headers that connections began with. */
async function startEcho(t: TestContext, readsProxyHeader = false) {
  const heads: string[] = [];
  const names: string[] = [];
  const tls = createTlsServer(
    { cert: serving.certificate, key: serving.key, ALPNProtocols: ['x-db'] },
    (socket) => {
      names.push(String(socket.servername));
      socket.on('error', () => {});
      socket.pipe(socket);
    },
  );
  tls.on('tlsClientError', () => {});
  const raw = createTcpServer((socket) => {
    socket.on('error', () => {});
    if (!readsProxyHeader) return void tls.emit('connection', socket);
    socket.once('readable', () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return void socket.destroy();
      const header = parseProxyHeader(bytes);
      assert.ok(header.kind === 'header');
      heads.push(header.source?.address ?? '');
      socket.unshift(bytes.subarray(header.length));
      tls.emit('connection', socket);
    });
  });
  raw.listen(0, localhost);
  await once(raw, 'listening');
  const sockets = new Set<Socket>();
  raw.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  t.after(() => {
    raw.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (raw.address() as AddressInfo).port, heads, names, sockets };
}

/** `db.example` and `*.wild.example` pass through to `db`, `www.wild.example` and the rest end here at `web`. */
async function start(t: TestContext) {
  const web = await startBackend(t, 'web');
  const db = await startEcho(t);
  const proxied = await startEcho(t, true);
  const api = new FakeApi();
  api.seed(ingressClasses, ourClass());
  const backends = [
    ['web', web.port],
    ['db', db.port],
    ['proxied', proxied.port],
    ['none', 1],
  ] as const;
  for (const [name, port] of backends) {
    api.seed(services, service(name));
    if (name !== 'none') api.seed(endpointSlices, slice(name, 0, port));
  }
  const through = { 'tls-passthrough': 'true' };
  api.seed(ingresses, annotated('web', 'www.wild.example', {}, 'web'));
  api.seed(ingresses, annotated('db', 'db.example', through, 'db'));
  api.seed(ingresses, annotated('wild', '*.wild.example', through, 'db'));
  const moved = annotated('moved', 'moved.example', {}, 'db');
  const theirs = { 'nginx.ingress.kubernetes.io/ssl-passthrough': 'true' };
  api.seed(ingresses, { ...moved, metadata: { ...moved.metadata, annotations: theirs } });
  api.seed(ingresses, annotated('long', 'long.example', through, 'db'));
  api.seed(ingresses, annotated('none', 'none.example', through, 'none'));
  api.seed(
    ingresses,
    annotated('kept', 'kept.example', { ...through, 'deny-source-range': '127.0.0.0/8' }, 'db'),
  );
  api.seed(
    ingresses,
    annotated('proxied', 'proxied.example', { ...through, 'proxy-protocol': 'v2' }, 'proxied'),
  );
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-passthrough-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const accessLog = { path: join(folder, 'access.log'), share: 1 };
  const limits = { ...defaultLimits, clientBodyTimeoutMs: 2_000 };
  const cluster = await startIngress(t, api, { limits, nginxAnnotations: true, accessLog });
  const logged = (): readonly AccessRecord[] =>
    readFileSync(accessLog.path, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AccessRecord);
  return { ...cluster, web, db, proxied, logged };
}

async function shake(port: number, servername: string): Promise<TLSSocket> {
  const ALPNProtocols = ['x-db', 'http/1.1'];
  const socket = connectTls({ port, host: localhost, servername, rejectUnauthorized: false, ALPNProtocols });
  await once(socket, 'secureConnect');
  return socket;
}

async function echoOf(socket: TLSSocket, text: string): Promise<string> {
  socket.write(text);
  const [data] = (await once(socket, 'data')) as [Buffer];
  return data.toString();
}

test(
  'TLS by its name: to the backend as it comes, exact host and wildcard, beside what ends here',
  options,
  async (t) => {
    const { http, https, health, db, proxied, logged } = await start(t);
    for (const name of ['db.example', 'DB.example', 'a.wild.example', 'moved.example']) {
      const socket = await shake(https, name);
      assert.equal(socket.getPeerCertificate().subject.CN, 'db', 'the certificate is the backend’s own');
      assert.equal(socket.alpnProtocol, 'x-db');
      assert.equal(await echoOf(socket, 'hello'), 'hello');
      socket.end();
      await closed(socket);
    }
    assert.deepEqual(
      db.names,
      ['db.example', 'DB.example', 'a.wild.example', 'moved.example'].map((name) => name),
    );
    const through = await shake(https, 'proxied.example');
    assert.equal(await echoOf(through, 'x'), 'x');
    assert.deepEqual(proxied.heads, [localhost]);
    through.destroy();
    const url = `https://www.wild.example:${https}/`;
    const here = ['-k', '--resolve', `www.wild.example:${https}:${localhost}`];
    assert.equal(await curl(...here, url), 'web');
    assert.equal(await curl(...here, '--http2', '-o', '/dev/null', '-w', '%{http_version}', url), '2');
    const nameless = connectTls({ port: https, host: localhost, rejectUnauthorized: false, servername: '' });
    await once(nameless, 'secureConnect');
    assert.notEqual(nameless.getPeerCertificate().subject.CN, 'db');
    nameless.destroy();
    // Who asks for one host inside the TLS of another is told so.
    const misdirected = [...here, '-H', 'Host: db.example', '-o', '/dev/null', '-w', '%{http_code}', url];
    assert.equal(await curl(...misdirected), '421');
    const plain = await ask(http, '/x?y', { host: 'db.example' });
    assert.deepEqual([plain.status, plain.headers.location], [308, 'https://db.example/x?y']);
    await until(async () => {
      const metrics = await curl(`http://${localhost}:${health}/metrics`);
      return (
        /^fairlead_ingress_passthrough_connections_total\{code="200"\} 5$/m.test(metrics) &&
        /^fairlead_ingress_passthrough_connections 0$/m.test(metrics)
      );
    });
    await until(() => logged().filter(({ protocol }) => protocol === 'TLS').length === 5);
    const relayed = logged().find(({ protocol, host }) => protocol === 'TLS' && host === 'proxied.example')!;
    assert.ok(relayed.receivedBytes > 200 && relayed.sentBytes > 200);
    assert.ok(relayed.firstByteMs !== null && relayed.firstByteMs <= relayed.durationMs);
    const here2 = logged().find(({ protocol, status }) => protocol === 'HTTP/2' && status === 200)!;
    const { tlsVersion, serverName, sentBytes, connectMs, firstByteMs, durationMs } = here2;
    assert.deepEqual([tlsVersion, serverName, sentBytes], ['TLSv1.3', 'www.wild.example', 3]);
    assert.ok(
      connectMs !== null && firstByteMs !== null && connectMs <= firstByteMs && firstByteMs <= durationMs,
    );
  },
);

test('TLS that passes through: who cannot be served gets an alert, and others go on', options, async (t) => {
  const { https } = await start(t);
  const failure = async (servername: string): Promise<unknown> => {
    const socket = connectTls({ port: https, host: localhost, servername, rejectUnauthorized: false });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    return error.code;
  };
  assert.equal(await failure('none.example'), 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR');
  assert.equal(await failure('kept.example'), 'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED');
  const socket = await shake(https, 'db.example');
  assert.equal(await echoOf(socket, 'x'), 'x');
  socket.destroy();
});

test(
  'TLS that passes through: a hello in many pieces, and large bodies to a slow reader',
  options,
  async (t) => {
    const { https, db } = await start(t);
    const [hello] = helloCorpus.filter(({ name }) => name === 'of OpenSSL, TLS 1.3');
    const slow = connect({ port: https, host: localhost, noDelay: true });
    const bytes = Buffer.from(
      hello!.bytes.toString('latin1').replace('shop.example', 'long.example'),
      'latin1',
    );
    for (let at = 0; at < bytes.length; at += 7) {
      slow.write(bytes.subarray(at, at + 7));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await once(slow, 'data');
    slow.destroy();

    const socket = await shake(https, 'db.example');
    socket.pause();
    const body = Buffer.alloc(bodyBytes, 'x');
    socket.write(body);
    await until(() => db.sockets.size > 0);
    let received = 0;
    socket.on('data', (data: Buffer) => {
      received += data.length;
      socket.pause();
      setImmediate(() => socket.resume());
    });
    socket.resume();
    await until(() => received === bodyBytes);
    socket.end();
    await closed(socket);
  },
);

test(
  'TLS that passes through lives through edits of others, and moves with its endpoints',
  options,
  async (t) => {
    const { https, api, db } = await start(t);
    const socket = await shake(https, 'db.example');
    api.update(ingresses, 'default/web', {
      metadata: { annotations: { 'fairlead.dev/read-timeout': '7s' } },
    });
    const moved = await startEcho(t);
    api.update(endpointSlices, 'default/db-0', {
      ports: [{ name: 'http', port: moved.port, protocol: 'TCP' }],
    });
    await until(async () => {
      const other = await shake(https, 'db.example');
      const answered = await echoOf(other, 'x');
      other.destroy();
      return answered === 'x' && moved.names.length > 0;
    });
    assert.equal(await echoOf(socket, 'still'), 'still', 'what is open stays where it is');
    assert.ok(db.sockets.size > 0);
    socket.destroy();
    // An older Ingress with rules for the host: TLS ends here, and the other one is told.
    const older = annotated('older', 'db.example', {}, 'web');
    await api.create(ingresses, {
      ...older,
      metadata: { ...older.metadata, creationTimestamp: '2000-01-01T00:00:00Z' },
    });
    const here = ['-k', '--resolve', `db.example:${https}:${localhost}`, `https://db.example:${https}/`];
    await until(async () => (await curl(...here).catch(() => '')) === 'web');
    await until(async () => {
      const { items } = await api.list(events);
      return items.some(
        ({ reason, message = '' }) => reason === 'HostConflict' && message.includes('default/older'),
      );
    });
  },
);

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';
const missing =
  existsSync('/usr/sbin/nginx') && existsSync(streamModule) ? false : 'needs nginx with its stream module';

/** nginx that answers with the name that it reads in a first message. */
async function startNginx(t: TestContext): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-passthrough-'));
  const port = await freePort();
  const config = `
load_module ${streamModule};
daemon off; master_process off; pid ${folder}/pid; error_log /dev/null;
events {}
stream {
  server { listen ${localhost}:${port}; ssl_preread on; preread_timeout 200ms; return "<$ssl_preread_server_name>"; }
}
`;
  writeFileSync(join(folder, 'nginx.conf'), config);
  const child: ChildProcess = spawn('/usr/sbin/nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], {
    stdio: 'ignore',
  });
  t.after(async () => {
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  });
  await until(async () => {
    const socket = connect(port, localhost);
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    return open;
  });
  return port;
}

/** The name that nginx reads; '' for none; undefined: it refuses, or waits for more. */
async function nginxReads(port: number, bytes: Buffer): Promise<string | undefined> {
  const socket = connect(port, localhost);
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  socket.write(bytes);
  await closed(socket);
  return /^<(.*)>$/s.exec(text)?.[1];
}

test('of first messages of TLS nginx reads no other name than we do', {
  ...options,
  skip: missing,
}, async (t) => {
  const port = await startNginx(t);
  const random = randomOf(Number(process.env['FUZZ_SEED'] ?? 20261127));
  const count = Number(process.env['FUZZ_COUNT'] ?? 300);
  const cases = [...helloCorpus, ...Array.from({ length: count }, () => mutateHello(random))];
  let agreed = 0;
  for (let at = 0; at < cases.length; at += 50) {
    await Promise.all(
      cases.slice(at, at + 50).map(async ({ name, bytes }) => {
        const ours = new HelloReader().push(bytes);
        const theirs = await nginxReads(port, bytes);
        if (theirs === undefined || ours.kind !== 'hello') return;
        agreed += 1;
        assert.equal(theirs.toLowerCase(), ours.hello.serverName ?? '', `${name}: ${bytes.toString('hex')}`);
      }),
    );
  }
  assert.ok(agreed > 20, `both must read some: ${agreed}`);
});
