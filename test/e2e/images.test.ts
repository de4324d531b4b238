/** The test images, built from Debian packages: what is in them, and that their programs start. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { before, describe, test } from 'node:test';
import { parseTar, type TarEntry } from '../../src/base/tar.ts';
import { buildImages, type ImageArchive } from '../../tools/images/build.ts';
import { get } from '../support/load.ts';
import { eventually, run, runOk, which } from '../support/shell.ts';

const missing = ['apt-get', 'apt-cache', 'dpkg-deb'].filter((name) => which(name) === undefined);
const skip = missing.length === 0 ? false : `needs Debian's ${missing.join(', ')}`;
const skipRun = skip !== false ? skip : process.getuid?.() === 0 ? false : 'needs root';

type Opened = {
  readonly config: {
    readonly architecture: string;
    readonly config: Readonly<Record<string, unknown>>;
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  readonly references: readonly string[];
  readonly layer: ReadonlyMap<string, TarEntry>;
};

/** Takes an OCI archive apart and checks every digest in it. */
async function open(archive: ImageArchive): Promise<Opened> {
  const files = new Map<string, Uint8Array>();
  for (const entry of parseTar(await readFile(archive.path))) {
    if (entry.kind === 'file') files.set(entry.path, entry.data);
  }
  const blob = (digest: string): Buffer => {
    const data = files.get(`blobs/${digest.replace(':', '/')}`);
    assert.ok(data !== undefined, `${digest} is in the archive`);
    assert.equal(`sha256:${createHash('sha256').update(data).digest('hex')}`, digest);
    return Buffer.from(data);
  };
  const json = (data: Uint8Array | undefined) => JSON.parse(Buffer.from(data ?? []).toString());
  const index = json(files.get('index.json'));
  const manifest = json(blob(index.manifests[0].digest));
  assert.equal(manifest.layers.length, 1);
  const layer = blob(manifest.layers[0].digest);
  const config = json(blob(manifest.config.digest));
  assert.deepEqual(config.rootfs.diff_ids, [`sha256:${createHash('sha256').update(layer).digest('hex')}`]);
  const annotations = index.manifests.map(
    (each: { readonly annotations: Readonly<Record<string, string>> }) =>
      each.annotations['io.containerd.image.name'],
  );
  const entries = [...parseTar(layer)].map((entry) => [entry.path, entry] as const);
  return { config, references: annotations, layer: new Map(entries) };
}

describe('images', { skip, timeout: 300_000 }, () => {
  let archives: ReadonlyMap<string, ImageArchive>;

  before(async () => {
    const built = await buildImages(['caddy', 'alpine', 'echo', 'busybox']);
    archives = new Map(built.map((archive) => [archive.name, archive]));
  });

  const archiveOf = (name: string): ImageArchive =>
    archives.get(name) ?? assert.fail(`${name} was not built`);

  for (const [name, reference, files] of [
    ['caddy', 'docker.io/library/caddy:latest', ['usr/bin/caddy', 'etc/caddy/Caddyfile', 'data/caddy']],
    [
      'alpine',
      'docker.io/library/alpine:latest',
      [
        'usr/bin/sh',
        'usr/bin/curl',
        'usr/bin/dig',
        'usr/bin/kdig',
        'usr/bin/nslookup',
        'usr/bin/wget',
        'usr/bin/nc',
      ],
    ],
    ['echo', 'fairlead.dev/echo:1', ['usr/bin/perl', 'usr/local/bin/echo.pl']],
    ['busybox', 'fairlead.dev/busybox:1', ['usr/bin/busybox', 'usr/bin/sh']],
  ] as const) {
    test(`${name}: a whole OCI image called ${reference}`, async () => {
      const { config, references, layer } = await open(archiveOf(name));
      assert.deepEqual(references, [reference]);
      assert.equal(config.architecture, process.arch === 'x64' ? 'amd64' : process.arch);
      for (const file of files) assert.ok(layer.has(file), file);
      assert.ok(
        [...layer.keys()].some((path) => path.endsWith('/copyright')),
        'the licences are in it',
      );
      const release = layer.get('etc/os-release');
      assert.ok(release?.kind === 'file');
      assert.match(Buffer.from(release.data).toString(), /made from Debian packages/, 'it says what it is');
    });
  }

  test('a second build takes what is there', async () => {
    const lines: string[] = [];
    const again = await buildImages(['echo'], {}, (line) => lines.push(line));
    assert.deepEqual([again[0]?.cached, lines], [true, []]);
  });

  test('a name that is none is refused with those that are', async () => {
    await assert.rejects(buildImages(['nginx']), /no image nginx; there are: caddy, alpine, echo, busybox/);
  });

  test('the programs start with nothing but their image', { skip: skipRun }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fairlead-images-'));
    try {
      for (const [name, command, want] of [
        [
          'alpine',
          [
            '/bin/sh',
            '-c',
            'curl --version; dig -v 2>&1; kdig -V 2>&1; nc -h 2>&1; nslookup 2>&1; cat /etc/os-release',
          ],
          /curl 7|curl 8/,
        ],
        [
          'caddy',
          ['/usr/bin/caddy', 'validate', '--config', '/etc/caddy/Caddyfile', '--adapter', 'caddyfile'],
          /^Valid configuration/m,
        ],
        ['echo', ['/usr/bin/perl', '-c', '/usr/local/bin/echo.pl'], /syntax OK/],
      ] as const) {
        const root = join(folder, name);
        await unpack(archiveOf(name), root);
        const result = await run('chroot', [root, ...command], { env: { LC_ALL: 'C' } });
        assert.match(`${result.stdout}${result.stderr}`, want);
        if (name === 'alpine') assert.match(result.stdout, /DiG 9[^]*kdig \(Knot DNS\)[^]*OpenBSD netcat/);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** As a container engine would, but by tar(1). */
async function unpack(archive: ImageArchive, root: string): Promise<void> {
  const layers = await runOk('tar', ['-tvf', archive.path]);
  const biggest = layers
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words[5]?.startsWith('blobs/') === true && !words[5].endsWith('/'))
    .toSorted((a, b) => Number(b[2]) - Number(a[2]))[0]?.[5];
  assert.ok(biggest !== undefined);
  await runOk('sh', [
    '-c',
    'mkdir -p "$2" && tar -xOf "$1" "$3" | tar -x -C "$2"',
    'sh',
    archive.path,
    root,
    biggest,
  ]);
}

const echo = new URL('../../tools/images/echo.pl', import.meta.url).pathname;
const skipEcho = which('perl') === undefined ? 'needs perl' : false;

test('echo tells its Pod over UDP, TCP and HTTP, and finishes what it has begun on SIGTERM', {
  skip: skipEcho,
}, async () => {
  const env = { ...process.env, LC_ALL: 'C', LISTEN_ECHO: '0', LISTEN_HTTP: '0', POD_NAME: 'echo-1' };
  const server = spawn('perl', [echo], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(server, 'exit');
  try {
    let output = '';
    server.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const ports = await eventually(() => {
      const match = /serves (\d+)\/udp, (\d+)\/tcp and (\d+)\/http/.exec(output);
      assert.ok(match !== null, output);
      return { udp: Number(match[1]), tcp: Number(match[2]), http: Number(match[3]) };
    });
    assert.equal(await udpEcho(ports.udp, 'ping'), 'echo-1 ping');
    assert.equal(await tcpEcho(ports.tcp, 'one\ntwo\n'), 'echo-1 one\necho-1 two\n');
    const first = await get(`http://127.0.0.1:${ports.http}/a?b=1`, { 'x-test': 'yes' });
    assert.equal(first.headers['x-pod'], 'echo-1');
    assert.match(first.body, /^pod: echo-1\nrequest: GET \/a\?b=1 HTTP\/1\.1\n[^]*x-test: yes\n/);

    // A request has begun once the server asks for its body; it is then answered although the server is to stop.
    const late = request({
      port: ports.http,
      method: 'POST',
      path: '/?delay=50',
      headers: { expect: '100-continue', 'content-length': 4 },
    });
    late.flushHeaders();
    await once(late, 'continue');
    server.kill('SIGTERM');
    await eventually(() => assert.match(output, /echo: stopping/));
    late.end('body');
    const [response] = (await once(late, 'response')) as [IncomingMessage];
    assert.equal(response.headers.connection, 'close');
    assert.match(await text(response), /\n\nbody$/);
    assert.deepEqual(await exited, [0, null]);
  } finally {
    server.kill('SIGKILL');
  }
});

async function udpEcho(port: number, message: string): Promise<string> {
  const socket = createSocket('udp4');
  socket.send(message, port, '127.0.0.1');
  const [reply] = (await once(socket, 'message')) as [Buffer];
  socket.close();
  return reply.toString();
}

async function tcpEcho(port: number, message: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.end(message);
  return text(socket);
}
