/** TLS below the protocol core: what is agreed on, who is believed, whichever transport carries it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer as createPlainServer } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { type ConnectionOptions, connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { netTransport, type ServerTransport } from '../../src/l7/transport/net-transport.ts';
import type { TlsSource } from '../../src/l7/transport/tls-source.ts';
import type {
  AcceptedFrom,
  Connection,
  ConnectionHandler,
  ConnectTls,
} from '../../src/l7/transport/transport.ts';
import { openUring } from '../support/uring.ts';
import { createTestPki } from '../support/pki.ts';
import { localhost, until } from './ingress-harness.ts';

const pki = await createTestPki();
const other = await createTestPki();
const serving = await pki.serving('backend');

/** Notes what comes; `name` is what its certificate is for. */
class Peer implements ConnectionHandler {
  connection!: Connection;
  from: AcceptedFrom | undefined;
  protocol: string | undefined;
  text = '';
  closed: string | undefined;

  onConnect(protocol: string): void {
    this.protocol = protocol;
  }

  onData(data: Buffer): void {
    this.text += data.toString('latin1');
    if (this.from !== undefined) this.connection.write(Buffer.from(data)); // the server's side echoes
  }

  onDrain(): void {}
  onFinish(): void {}

  onEnd(): void {
    if (this.from !== undefined) this.connection.end();
  }

  onClose(error: string | undefined): void {
    this.closed = error ?? 'in peace';
  }
}

const trusting: ConnectTls = {
  serverName: 'localhost',
  verify: true,
  ca: pki.authority.pair.certificate,
  clientCertificate: undefined,
  protocols: [],
};

let ticketKeys = Buffer.alloc(48, 1);

const source: TlsSource = {
  ticketKeys: () => ticketKeys,
  pairFor: () => Promise.resolve(serving),
  looksAtHellos: false,
  passesThrough: () => false,
  clientTlsFor: () => undefined,
};

async function serve(
  t: TestContext,
  transport: ServerTransport,
  protocols?: readonly string[],
  handshakeTimeoutMs?: number,
) {
  const accepted: Peer[] = [];
  const acceptor = {
    accept(connection: Connection, from: AcceptedFrom): ConnectionHandler {
      const peer = new Peer();
      peer.connection = connection;
      peer.from = from;
      accepted.push(peer);
      return peer;
    },
  };
  const at = { kind: 'address', host: localhost, port: 0 } as const;
  const listener = await transport.listen(at, acceptor, {
    tls: source,
    protocols,
    handshakeTimeoutMs,
    onError: () => {},
  });
  t.after(async () => {
    listener.close();
    for (const { connection } of accepted) connection.destroy();
    await until(() => accepted.every((peer) => peer.closed !== undefined));
  });
  return { port: listener.port, accepted };
}

function dial(transport: ServerTransport, port: number, tls: ConnectTls): Peer {
  const peer = new Peer();
  peer.connection = transport.connect(localhost, port, peer, tls);
  return peer;
}

const withoutOpenSsl = openUring(() => {
  throw new Error('no such symbol');
});

test('a ring in a runtime whose OpenSSL cannot be called leaves TLS to node:tls', {
  timeout: 60_000,
  skip: typeof withoutOpenSsl === 'string' ? withoutOpenSsl : false,
}, async (t) => {
  const over = withoutOpenSsl as ServerTransport;
  assert.match(String(over.tlsProblem), /no such symbol/);
  const { port, accepted } = await serve(t, over, ['h2']);
  const peer = dial(over, port, { ...trusting, protocols: ['h2'] });
  await until(() => peer.protocol !== undefined && accepted.length === 1);
  assert.deepEqual([peer.protocol, accepted[0]!.from?.protocol], ['h2', 'h2']);
  peer.connection.end();
  await until(() => peer.closed !== undefined);
});

for (const [name, transport] of [
  ['net', netTransport],
  ['uring', openUring()],
] as const) {
  const check = (title: string, body: (t: TestContext, over: ServerTransport) => Promise<void>): void => {
    const skip = typeof transport === 'string' ? transport : false;
    test(`${name}: ${title}`, { timeout: 300_000, skip }, (t) => body(t, transport as ServerTransport));
  };

  check('bytes that wait for a slow peer within TLS stay what they were', async (t, over) => {
    const pattern = Buffer.alloc(12 << 20, Buffer.from(Array.from({ length: 251 }, (_, at) => at + 1))); // more than sockets hold
    const zeros = Buffer.alloc(32 << 20);
    const sender = createPlainServer((socket) => {
      socket.once('data', (which) => socket.end(String(which) === 'pattern' ? pattern : zeros));
      socket.on('error', () => {});
    }).listen(0, localhost);
    await once(sender, 'listening');
    t.after(() => sender.close());
    /** Reads all of it from a plain connection, whose memory is used again and again. */
    const fetch = async (which: string, onData: (data: Buffer) => void): Promise<void> => {
      const peer = new Peer();
      peer.onConnect = () => peer.connection.write(which);
      peer.onData = onData;
      peer.onEnd = () => peer.connection.end();
      peer.connection = over.connect(localhost, (sender.address() as AddressInfo).port, peer);
      await until(() => peer.closed !== undefined);
    };
    const slow = async (sink: Connection, reader: TLSSocket): Promise<void> => {
      await fetch('pattern', (data) => void sink.write(data));
      await fetch('zeros', () => {});
      sink.end();
      assert.ok((await buffer(reader)).equals(pattern));
    };

    const { port, accepted } = await serve(t, over);
    const client = connectTls({ host: localhost, port, rejectUnauthorized: false });
    await until(() => accepted.length === 1);
    await slow(accepted[0]!.connection, client);

    const server = createServer({ cert: serving.certificate, key: serving.key }).listen(0, localhost);
    t.after(() => server.close());
    await once(server, 'listening');
    const arrived = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const made = dial(over, (server.address() as AddressInfo).port, trusting);
    const [reader] = await arrived;
    await until(() => made.protocol !== undefined);
    await slow(made.connection, reader);
    reader.end();
    await until(() => made.closed !== undefined);
  });

  check('a client that does not come through its handshake is cut', async (t, over) => {
    const { port, accepted } = await serve(t, over, undefined, 50);
    const said = [Buffer.alloc(0), Buffer.from([22, 3, 1, 1, 0]), Buffer.from('GET / HTTP/1.1\r\n\r\n')];
    for (const bytes of said) {
      for (const ends of [false, true]) {
        const socket = connect({ host: localhost, port, allowHalfOpen: true });
        await once(socket, 'connect');
        socket.write(bytes);
        if (ends) socket.end();
        socket.resume();
        await once(socket, 'end'); // or the test runs out of time
        socket.destroy();
      }
    }
    assert.deepEqual(accepted, []);
  });

  check('both sides are told the protocol that ALPN has agreed on', async (t, over) => {
    const cases = [
      [['h2', 'http/1.1'], ['h2'], 'h2'],
      [['h2', 'http/1.1'], ['http/1.1', 'h2'], 'h2'], // the server chooses
      [undefined, ['h2', 'http/1.1'], 'http/1.1'],
      [['h2', 'http/1.1'], [], ''],
    ] as const;
    for (const [offered, wanted, agreed] of cases) {
      const { port, accepted } = await serve(t, over, offered);
      const client = dial(over, port, { ...trusting, protocols: wanted });
      client.connection.write('through TLS');
      await until(() => client.text === 'through TLS');
      assert.equal(client.protocol, agreed);
      const tls = { version: 'TLSv1.3', serverName: 'localhost' };
      assert.deepEqual(accepted[0]?.from, { scheme: 'https', protocol: agreed, tls });
      client.connection.end();
      await until(() => client.closed !== undefined && accepted[0]?.closed !== undefined);
      assert.equal(client.closed, 'in peace');
    }
    const { port, accepted } = await serve(t, over, ['http/1.1']);
    const client = dial(over, port, { ...trusting, protocols: ['h2'] });
    await until(() => client.closed !== undefined);
    assert.match(client.closed ?? '', /^ERR_SSL_/); // no_application_protocol
    assert.equal(accepted.length, 0);
  });

  check('a certificate that is not to be believed ends the connection with the reason', async (t, over) => {
    const { port } = await serve(t, over);
    const cases: readonly (readonly [Partial<ConnectTls>, string])[] = [
      [{ serverName: 'somebody.else' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      [{ ca: other.authority.pair.certificate }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [{ ca: undefined }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [{ ca: '' }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [{ ca: 'no PEM' }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      [{ clientCertificate: { certificate: 'none', key: 'none' } }, 'ERR_TLS_BAD_PEM'],
    ];
    for (const [change, code] of cases) {
      const client = dial(over, port, { ...trusting, ...change });
      client.connection.write('secret');
      await until(() => client.closed !== undefined);
      assert.equal(client.closed, code, JSON.stringify(change));
      assert.equal(client.protocol, undefined, 'it never counts as connected');
    }
    const careless = dial(over, port, { ...trusting, serverName: 'somebody.else', ca: '', verify: false });
    careless.connection.write('hello');
    await until(() => careless.text === 'hello');
    careless.connection.destroy();
    await until(() => careless.closed !== undefined);
  });

  check('a client certificate is shown, and the second handshake is a short one', async (t, over) => {
    const pair = await pki.client('ingress');
    const seen: { readonly subject: string; readonly resumed: boolean }[] = [];
    const server = createServer(
      {
        ...{ cert: serving.certificate, key: serving.key },
        requestCert: true,
        ca: pki.authority.pair.certificate,
      },
      (socket: TLSSocket) => {
        seen.push({
          subject: socket.getPeerCertificate().subject?.CN?.toString() ?? '',
          resumed: socket.isSessionReused(),
        });
        socket.end('welcome');
      },
    ).listen(0, localhost);
    await once(server, 'listening');
    t.after(() => server.close());
    const tls = { ...trusting, clientCertificate: { certificate: pair.certificate, key: pair.key } };
    for (let round = 0; round < 2; round += 1) {
      const client = dial(over, (server.address() as AddressInfo).port, tls);
      await until(() => client.text === 'welcome');
      client.connection.end();
      await until(() => client.closed !== undefined);
    }
    assert.deepEqual(seen, [
      { subject: 'ingress', resumed: false },
      { subject: 'ingress', resumed: true },
    ]);
  });

  check(
    'a session is taken up by every listener with the same ticket keys, also by a name of its own',
    async (t, over) => {
      const [first, second] = await Promise.all([serve(t, over), serve(t, over)]);
      const visit = async (port: number, options: ConnectionOptions): Promise<string> => {
        let told = '';
        const socket = connectTls({ port, host: localhost, rejectUnauthorized: false, ...options });
        socket.once('session', (session) => {
          latest = session;
          socket.end(); // in TLS 1.3 it comes after a whole handshake
        });
        socket.once('secureConnect', () => {
          told = `${String(socket.getProtocol())} ${socket.isSessionReused() ? 'taken up' : 'whole'}`;
          if (options.maxVersion === 'TLSv1.2' || socket.isSessionReused()) socket.end();
        });
        await once(socket.resume(), 'close');
        return told;
      };
      let latest: Buffer | undefined;
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        for (const servername of ['', 'a.example']) {
          await visit(first.port, { maxVersion, servername });
          const again = await visit(second.port, { maxVersion, servername, session: latest });
          assert.equal(again, `${maxVersion} taken up`, servername);
          const session = latest;
          ticketKeys = Buffer.alloc(48, (ticketKeys[0] ?? 0) + 1);
          const rotated = await visit(second.port, { maxVersion, servername, session });
          assert.equal(
            rotated,
            `${maxVersion} whole`,
            'old tickets are worth nothing, and cost no connection',
          );
        }
      }
    },
  );

  check('old versions of TLS and ciphers without forward secrecy are refused', async (t, over) => {
    const { port, accepted } = await serve(t, over);
    const cases: readonly ConnectionOptions[] = [
      { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' },
      { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' },
      { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' },
    ];
    for (const servername of ['', 'a.example']) {
      for (const options of cases) {
        const socket = connectTls({
          port,
          host: localhost,
          rejectUnauthorized: false,
          servername,
          ...options,
        });
        const [error] = (await once(socket, 'error')) as [Error & { code?: string }];
        assert.match(error.code ?? '', /^ERR_SSL_|ECONNRESET/, JSON.stringify(options));
      }
    }
    assert.equal(accepted.length, 0);
  });

  check('a client may ask for new keys, and gets what is said with them', async (t, over) => {
    const { port } = await serve(t, over);
    const client = spawn('openssl', ['s_client', '-tls1_3', '-connect', `${localhost}:${port}`]);
    t.after(() => client.kill());
    let text = '';
    for (const output of [client.stdout, client.stderr]) {
      output.on('data', (data) => {
        text += String(data);
      });
    }
    const say = async (line: string, awaited: string): Promise<void> => {
      client.stdin.write(`${line}\n`);
      await until(() => text.includes(awaited));
    };
    await until(() => text.includes('Verify return code'));
    await say('before', '\nbefore');
    await say('K', 'KEYUPDATE'); // a command of s_client's: it asks for ours, too
    await say('after', '\nafter');
  });

  check('giving up before, while and after the handshake closes once', async (t, over) => {
    const { port } = await serve(t, over);
    const peers = Array.from({ length: 20 }, () => dial(over, port, trusting));
    for (const [index, peer] of peers.entries()) {
      for (let turn = 0; turn < index; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      peer.connection.destroy();
    }
    await until(() => peers.every((peer) => peer.closed !== undefined));
    assert.ok(peers.every((peer) => peer.closed === 'in peace'));
  });
}
