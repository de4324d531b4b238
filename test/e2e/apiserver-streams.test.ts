import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ClientOptions, WebSocket } from 'ws';
import { messageBytesMax } from '../../src/apiserver/websocket-streams.ts';
import { findKubectls, startApiServer, type TestApiServer } from '../support/apiserver.ts';
import { runOk } from '../support/shell.ts';
import { type SpdyKubelet, startSpdyKubelet } from '../support/spdy-kubelet.ts';

/** exec, attach and port-forward through the API server, by WebSocket and by SPDY, with a kubelet of our own behind it. */

const kubectls = findKubectls();
const skip = kubectls.length === 0 ? 'no kubectl on PATH' : false;

let server: TestApiServer;
let admin: string;
let kubelet: SpdyKubelet;
let echo: Server;

before(async () => {
  server = await startApiServer();
  admin = server.kubeconfig('admin', server.admin);
  // Answers what it got when its client has ended its side: shows half-close.
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      text += String(chunk);
      if (text.endsWith('\r\n\r\n')) socket.end('HTTP/1.0 200 OK\r\n\r\nserved');
    });
    socket.once('end', () => socket.end(`got ${text}`));
  });
  await new Promise<void>((resolve) => void echo.listen(0, '127.0.0.1', resolve));
  kubelet = await startSpdyKubelet(server.pki, (echo.address() as AddressInfo).port);
  await post('/api/v1/nodes', {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'n1' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: kubelet.port } },
    },
  });
  await post('/api/v1/namespaces/default/pods', {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'target' },
    spec: { nodeName: 'n1', containers: [{ name: 'main', image: 'x', stdin: true, tty: false }] },
  });
  await post('/api/v1/namespaces/default/pods/target/status', { status: { phase: 'Running' } }, 'PATCH');
});
after(async () => {
  await kubelet.stop();
  await new Promise((resolve) => echo.close(resolve));
  await server.stop();
});

async function post(path: string, body: unknown, method = 'POST'): Promise<void> {
  const { request } = await import('node:https');
  const response = await new Promise<{ statusCode?: number | undefined }>((resolve, reject) => {
    const sent = request(
      `${server.url}${path}`,
      {
        method,
        ...tls(),
        headers: { 'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' },
      },
      (answer) => {
        answer.resume();
        answer.once('end', () => resolve(answer));
      },
    );
    sent.once('error', reject);
    sent.end(JSON.stringify(body));
  });
  assert.ok((response.statusCode ?? 500) < 300, `${method} ${path}: ${response.statusCode}`);
}

function tls(): { ca: string; cert: string; key: string } {
  return { ca: server.pki.server.caCert, cert: server.admin.certificate, key: server.admin.key };
}

type Session = { readonly code: number; readonly byChannel: Readonly<Record<number, string>> };

/** Opens exec, sends what is given, and collects until the server closes. */
async function execSession(
  query: string,
  send: readonly Uint8Array[],
  protocol = 'v5.channel.k8s.io',
): Promise<Session> {
  const options: ClientOptions = { ...tls() };
  const socket = new WebSocket(
    `${server.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/target/exec?${query}`,
    protocol,
    options,
  );
  const byChannel: Record<number, string> = {};
  socket.on('message', (data: Buffer) => {
    const [channel = -1] = data;
    byChannel[channel] = (byChannel[channel] ?? '') + data.subarray(1).toString();
  });
  socket.on('open', () => {
    for (const message of send) socket.send(message);
  });
  const [code] = (await once(socket, 'close')) as [number];
  return { code, byChannel };
}

function message(channel: number, text: string): Uint8Array {
  return Buffer.concat([Buffer.of(channel), Buffer.from(text)]);
}

test('WebSocket exec: outputs on their channels, success as the status', async () => {
  const session = await execSession('command=hello&stdout=true&stderr=true', []);
  assert.equal(session.code, 1000);
  assert.equal(session.byChannel[1], 'out:hello\n');
  assert.equal(session.byChannel[2], 'err\n');
  assert.equal(JSON.parse(session.byChannel[3] ?? '{}').status, 'Success');
});

test('WebSocket exec: the exit code is in the status', async () => {
  const { byChannel } = await execSession('command=exit&command=7&stdout=true', [], 'v4.channel.k8s.io');
  const status = JSON.parse(byChannel[3] ?? '{}');
  assert.equal(status.reason, 'NonZeroExitCode');
  assert.deepEqual(status.details.causes, [{ reason: 'ExitCode', message: '7' }]);
});

test('WebSocket exec: the first protocol was refused; it has a text for a failure, and nothing for success', async () => {
  const first = 'channel.k8s.io';
  const done = await execSession('command=hello&stdout=true&stderr=true', [], first);
  assert.deepEqual([done.code, done.byChannel], [1000, { 1: 'out:hello\n', 2: 'err\n' }]);
  const failed = await execSession('command=exit&command=7&stdout=true', [], first);
  assert.match(failed.byChannel[3] ?? '', /^command terminated with non-zero exit code: 7$/);
  const lost = await execSession('command=die&stdout=true', [], first);
  assert.match(lost.byChannel[3] ?? '', /^the connection to the kubelet ended/);
});

type TextMessages = { readonly code: number; readonly texts: readonly string[]; readonly isText: boolean };

/** Opens a stream of Pod target, sends one text, and collects what comes until the server closes. */
async function textSession(path: string, protocol: string, send?: string): Promise<TextMessages> {
  const socket = new WebSocket(
    `${server.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/target/${path}`,
    protocol,
    tls(),
  );
  const texts: string[] = [];
  let isText = true;
  socket.on('message', (data: Buffer, isBinary) => {
    isText &&= !isBinary;
    texts.push(data.toString());
  });
  socket.on('open', () => {
    if (send !== undefined) socket.send(send);
  });
  const [code] = (await once(socket, 'close')) as [number];
  return { code, texts, isText };
}

test('WebSocket exec: clients without bytes speak base64 behind the digit of the channel', async () => {
  const encode = (text: string): string => Buffer.from(text).toString('base64');
  const exec = 'exec?command=size&stdin=true&stdout=true&tty=true';
  const size = '{"Width":80,"Height":24}';
  const first = await textSession(exec, 'base64.channel.k8s.io', `4${encode(size)}`);
  assert.deepEqual(first, { code: 1000, texts: ['1', `1${encode(size)}`], isText: true });
  const fourth = await textSession(exec, 'v4.base64.channel.k8s.io', `4${encode(size)}`);
  const status = fourth.texts.find((text) => text.startsWith('3'))?.slice(1) ?? '';
  assert.equal(JSON.parse(Buffer.from(status, 'base64').toString()).status, 'Success');
  assert.equal((await textSession(exec, 'base64.channel.k8s.io', '4no base64!')).code, 1007);
});

test('WebSocket exec v5: a closed stdin ends the command, and nothing is lost before it', async () => {
  const large = 'x'.repeat(100_000);
  const { byChannel } = await execSession('command=cat&stdin=true&stdout=true', [
    message(0, 'one '),
    message(0, large),
    message(255, '\0'),
  ]);
  assert.equal(byChannel[1], `one ${large}`);
});

test('WebSocket: a message of the most bytes goes through, one more ends the connection with 1009', async () => {
  const channel = message(0, '');
  const most = Buffer.concat([channel, Buffer.alloc(messageBytesMax - channel.length, 'x')]);
  const { code, byChannel } = await execSession('command=cat&stdin=true&stdout=true', [
    most,
    message(255, '\0'),
  ]);
  assert.deepEqual([code, byChannel[1]?.length], [1000, messageBytesMax - channel.length]);
  const more = Buffer.concat([most, Buffer.from('x')]);
  assert.equal((await execSession('command=cat&stdin=true&stdout=true', [more])).code, 1009);
});

test('WebSocket exec: a terminal has one output and gets its size', async () => {
  const size = '{"Width":80,"Height":24}';
  const { byChannel } = await execSession('command=size&stdin=true&stdout=true&stderr=true&tty=true', [
    message(4, size),
  ]);
  assert.equal(byChannel[1], size);
  assert.equal(byChannel[2], undefined);
});

test('WebSocket exec: a kubelet that is lost is a failure, not an end', async () => {
  const { byChannel } = await execSession('command=die&stdout=true', []);
  assert.match(JSON.parse(byChannel[3] ?? '{}').message, /connection to the kubelet ended/);
});

/** A log by WebSocket: its messages, and whether they were binary. */
async function logSession(protocol: string): Promise<{ code: number; text: string; isBinary: boolean }> {
  const socket = new WebSocket(
    `${server.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/target/log?tailLines=5`,
    protocol,
    tls(),
  );
  let text = '';
  let isBinary = false;
  socket.on('message', (data: Buffer, binary) => {
    text += data.toString();
    isBinary = binary;
  });
  const [code] = (await once(socket, 'close')) as [number];
  return { code, text, isBinary };
}

test('WebSocket log: the path could not be upgraded; it is read in bytes or as base64', async () => {
  const log = 'kubelet GET /containerLogs/default/target/main?tailLines=5';
  assert.deepEqual(await logSession('binary.k8s.io'), { code: 1000, text: log, isBinary: true });
  const text = Buffer.from(log).toString('base64');
  assert.deepEqual(await logSession('base64.binary.k8s.io'), { code: 1000, text, isBinary: false });
  await assert.rejects(logSession('v4.channel.k8s.io'), /400/);
});

test('WebSocket: an unknown subprotocol is refused as a Status', async () => {
  const socket = new WebSocket(
    `${server.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/target/exec?command=x`,
    'v9.channel.k8s.io',
    tls(),
  );
  const [error] = (await once(socket, 'error')) as [Error];
  assert.match(error.message, /400/);
});

const python = '/usr/bin/python3';
const skipPython =
  spawnSync(python, ['-c', 'import kubernetes']).status === 0
    ? false
    : "Python's kubernetes client is missing: apt-get install python3-kubernetes";

test('Python’s kubernetes client: exec with output and exit code', { skip: skipPython }, async () => {
  const script = join(import.meta.dirname, '../clients/exec.py');
  const config = server.kubeconfig('python', server.admin);
  assert.equal((await runOk(python, [script, config, 'target', 'hello'])).trim(), 'out:hello 0');
  assert.equal((await runOk(python, [script, config, 'target', 'exit', '4'])).trim(), 'out:exit 4 4');
});

test('Python’s kubernetes client: port-forward by WebSocket channels', { skip: skipPython }, async () => {
  const script = join(import.meta.dirname, '../clients/forward.py');
  const config = server.kubeconfig('python', server.admin);
  assert.equal((await runOk(python, [script, config, 'target', '8080'])).trim(), 'served None');
});

test('WebSocket port-forward: a port that is none is refused as a Status', async () => {
  const socket = new WebSocket(
    `${server.url.replace('https', 'wss')}/api/v1/namespaces/default/pods/target/portforward?ports=80,none`,
    'v4.channel.k8s.io',
    tls(),
  );
  const [error] = (await once(socket, 'error')) as [Error];
  assert.match(error.message, /400/);
});

/** From here on kubectl itself. */
function args(line: string): readonly string[] {
  return [`--kubeconfig=${admin}`, ...line.split(' ')];
}

async function runWithInput(
  path: string,
  line: string,
  input: string,
): Promise<{ readonly code: number; readonly stdout: string }> {
  const child = spawn(path, args(line), { stdio: ['pipe', 'pipe', 'ignore'] });
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += String(chunk);
  });
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number];
  return { code, stdout };
}

for (const { version, path } of kubectls) {
  const minor = Number(/\.(\d+)$/.exec(version)?.[1] ?? 0);
  test(`kubectl ${version}: exec, exit codes, half-closed stdin, attach`, { skip }, async () => {
    kubelet.seen.length = 0;
    assert.equal((await runOk(path, args('exec target -- hello'))).trim(), 'out:hello');
    assert.equal(kubelet.seen.length, 1, 'no second try by another protocol');
    assert.equal((await runWithInput(path, 'exec target -- exit 3', '')).code, 3);
    const piped = await runWithInput(path, 'exec -i target -- cat', 'through the pipe');
    assert.deepEqual(piped, { code: 0, stdout: 'through the pipe' });
    assert.match(await runOk(path, args('attach target')), /out:/);
  });

  test(`kubectl ${version}: port-forward, several connections, half-close`, { skip }, async () => {
    const child = spawn(path, args('port-forward pod/target :80'), { stdio: ['ignore', 'pipe', 'pipe'] });
    const closed = once(child, 'close');
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const port = Number(/127\.0\.0\.1:(\d+)/.exec(String(line))?.[1]);
      const ask = async (text: string): Promise<string> => {
        const socket = connect(port, '127.0.0.1');
        let answer = '';
        socket.on('data', (chunk) => {
          answer += String(chunk);
        });
        socket.end(text);
        await once(socket, 'close');
        return answer;
      };
      const long = 'y'.repeat(200_000);
      assert.deepEqual(await Promise.all([ask('a'), ask(long)]), ['got a', `got ${long}`], `minor ${minor}`);
    } finally {
      child.kill();
      await closed;
    }
  });
}

test('what kubectl writes to a file by cp goes through', { skip }, async () => {
  const file = join(server.folder, 'input.txt');
  writeFileSync(file, 'data');
  const newest = kubectls.at(-1)?.path ?? 'kubectl';
  const { stdout } = await runWithInput(newest, 'exec -i target -- cat', 'z'.repeat(300_000));
  assert.equal(stdout.length, 300_000);
});
