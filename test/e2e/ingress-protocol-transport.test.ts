/** What the protocol core may rely on, whichever transport is below: one suite over all of them. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { netTransport, type ServerTransport } from '../../src/l7/transport/net-transport.ts';
import type { Connection, ConnectionHandler } from '../../src/l7/transport/transport.ts';
import { encodeSocketAddress } from '../../src/base/socket-address.ts';
import { openKernel } from '../../src/l7/transport/uring-kernel.ts';
import { freePort } from '../support/ports.ts';
import { openUring } from '../support/uring.ts';
import { closed, localhost, until } from './ingress-harness.ts';
import { dial, echo, Recorder, serve } from './transport-harness.ts';

const transports: readonly (readonly [name: string, transport: ServerTransport | string])[] = [
  ['net', netTransport],
  ['uring', openUring()],
  // Whoever has much to say at once finds the one queue full, and what comes lies outside of the other.
  ['uring with short queues', openUring(undefined, { submissions: 2, completions: 4 })],
];

const options = { timeout: 300_000 };

for (const [name, transport] of transports) {
  const missing = typeof transport === 'string' ? transport : false;
  const given = transport as ServerTransport; // not used when skipped
  const check = (
    title: string,
    body: (t: TestContext, transport: ServerTransport) => Promise<void>,
  ): void => {
    test(`${name}: ${title}`, { ...options, skip: missing }, (t) => body(t, given));
  };

  check('both sides talk, the ends come in order and a connection closes once', async (t, transport) => {
    const { port, accepted } = await serve(t, transport, echo);
    const client = dial(transport, port);
    client.onEvent = (event) => {
      if (event !== 'connect') return;
      client.connection.write('h\u00e9llo ');
      client.connection.write(Buffer.from('world'));
      client.connection.end();
      assert.equal(client.connection.write('late'), true, 'nothing is written after the end');
    };
    await until(() => client.has('close') && accepted[0]?.has('close') === true);
    assert.equal(client.text, 'h\u00e9llo world');
    assert.deepEqual(client.events, ['connect', 'finish', 'end', 'close']);
    assert.deepEqual(accepted[0]?.events, ['end', 'finish', 'close']);
    assert.equal(accepted[0]?.connection.remoteAddress, localhost);
  });

  check('what is written before the connection stands is sent once it does', async (t, transport) => {
    const { port } = await serve(t, transport, echo);
    const client = dial(transport, port);
    client.connection.write('early');
    await until(() => client.text === 'early');
    client.connection.destroy();
    await until(() => client.has('close'));
  });

  check(
    'a turn ends once for each who asks, and what is written then leaves in order',
    async (t, transport) => {
      let turns = 0;
      const { port, accepted } = await serve(t, transport, (recorder) => {
        recorder.onBytes = () => {
          const { connection } = recorder;
          connection.atTurnEnd?.(() => {
            turns += 1;
            connection.write('c');
          });
          connection.atTurnEnd?.(() => {
            turns += 1;
            connection.write('d');
          });
          connection.write('a');
          connection.write('b');
        };
      });
      const client = dial(transport, port);
      client.connection.write('1');
      await until(() => client.text === 'abcd');
      client.connection.write('2');
      await until(() => client.text === 'abcdabcd');
      assert.equal(turns, 4);
      let late = 0;
      accepted[0]?.connection.destroy();
      accepted[0]?.connection.atTurnEnd?.(() => {
        late += 1;
        accepted[0]?.connection.write('gone');
      });
      await until(() => late === 1 && client.has('end'));
      assert.equal(client.text, 'abcdabcd');
      client.connection.destroy();
      await until(() => client.has('close'));
    },
  );

  check('a buffer may be changed where the connection says that it keeps nothing', async (t, transport) => {
    const { port, accepted } = await serve(t, transport);
    const socket = connect(port, localhost);
    let received = 0;
    await until(() => accepted.length === 1);
    const connection = accepted[0]!.connection;
    let sent = 0;
    let reused = 0;
    const memory = Buffer.alloc(32_768);
    let buffer = memory;
    // Nobody reads at first, so that the network fills up and the transport has to keep bytes.
    while (sent < 16 << 20 && (connection.keepsNothing === true || reused === 0)) {
      buffer.fill('x');
      connection.write(buffer);
      sent += buffer.length;
      if (connection.keepsNothing === true) {
        buffer.fill('-');
        reused += 1;
      } else buffer = Buffer.alloc(buffer.length);
    }
    socket.on('data', (chunk: Buffer) => {
      assert.ok(!chunk.includes('-'), 'bytes that were changed after keepsNothing have left');
      received += chunk.length;
    });
    await until(() => received === sent);
    assert.ok(reused > 0);
    socket.destroy();
  });

  check('a half-closed connection goes on in the other direction', async (t, transport) => {
    const { port, accepted } = await serve(t, transport);
    const socket = connect({ port, host: localhost, allowHalfOpen: true });
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.end('question');
    await until(() => accepted[0]?.has('end') === true);
    assert.equal(accepted[0]?.text, 'question');
    accepted[0]?.connection.write('answer '.repeat(20_000));
    accepted[0]?.connection.end();
    await once(socket, 'end');
    assert.equal(Buffer.concat(chunks).length, 140_000);
    await until(() => accepted[0]?.has('close') === true);
  });

  check('failures are told by their codes', async (t, transport) => {
    const refused = dial(transport, await freePort());
    await until(() => refused.has('close'));
    assert.deepEqual(refused.events, ['close', 'ECONNREFUSED']);
    const given = dial(transport, await freePort());
    given.connection.destroy(); // while it connects
    await until(() => given.has('close'));
    assert.deepEqual(given.events, ['close']);
    const { port: served, accepted } = await serve(t, transport);
    const socket = connect(served, localhost);
    await until(() => accepted.length === 1);
    socket.resetAndDestroy();
    await until(() => accepted[0]?.has('close') === true);
    assert.deepEqual(accepted[0]?.events, ['close', 'ECONNRESET']);
    const taken = transport.listen(
      { kind: 'address', host: localhost, port: served },
      { accept: () => undefined },
      { onError: () => {} },
    );
    await assert.rejects(taken, /EADDRINUSE/);
  });

  check('a connection that the core does not take is closed', async (t, transport) => {
    const at = { kind: 'address', host: localhost, port: 0 } as const;
    const listener = await transport.listen(at, { accept: () => undefined }, { onError: () => {} });
    t.after(() => listener.close());
    await closed(connect(listener.port, localhost).resume());
  });

  check('big writes arrive whole and tell when to stop', async (t, transport) => {
    const { port, accepted } = await serve(t, transport);
    const socket = connect(port, localhost);
    socket.pause();
    await until(() => accepted.length === 1);
    const { connection } = accepted[0]!;
    const block = Buffer.alloc(1_000_003, 'abcdefghij');
    const hash = createHash('sha1');
    let flowing = true;
    let written = 0;
    while (flowing && written < 64) {
      hash.update(block);
      flowing = connection.write(block);
      written += 1;
    }
    assert.equal(flowing, false);
    const received = createHash('sha1');
    let bytes = 0;
    socket.on('data', (data: Buffer) => {
      received.update(data);
      bytes += data.length;
    });
    socket.resume();
    await until(() => accepted[0]!.has('drain'));
    const text = 'x'.repeat(200_000);
    connection.write(text);
    hash.update(text);
    connection.end();
    await once(socket, 'end');
    assert.equal(bytes, written * block.length + text.length);
    assert.equal(received.digest('hex'), hash.digest('hex'));
    assert.ok(accepted[0]!.has('finish'));
    await until(() => accepted[0]!.has('close'));
  });

  check('a paused connection stops its sender and loses nothing', async (t, transport) => {
    const { port, accepted } = await serve(t, transport, (recorder) => {
      recorder.onBytes = () => recorder.connection.pause();
    });
    const socket = connect(port, localhost);
    const block = Buffer.alloc(1 << 16, 'z');
    const total = 256 * block.length;
    let sent = 0;
    const more = (): void => {
      while (sent < total) {
        sent += block.length;
        if (!socket.write(block)) {
          socket.once('drain', more);
          return;
        }
      }
      socket.end();
    };
    more();
    await until(() => accepted[0] !== undefined && accepted[0].bytes > 0);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(accepted[0]!.bytes < total, 'it must not run through');
    while (!accepted[0]!.has('end')) {
      accepted[0]!.connection.resume();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(accepted[0]!.bytes, total);
    assert.equal(
      accepted[0]!.hash.digest('hex'),
      createHash('sha1').update(Buffer.alloc(total, 'z')).digest('hex'),
    );
    accepted[0]!.connection.end();
    await closed(socket.resume());
  });

  check('an end that comes while paused is told after resuming', async (t, transport) => {
    const { port, accepted } = await serve(t, transport);
    const socket = connect(port, localhost);
    await until(() => accepted.length === 1);
    const [recorder] = accepted as [Recorder];
    recorder.connection.pause();
    socket.end('last words');
    await once(socket, 'finish');
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(!recorder.has('end'));
    recorder.connection.resume();
    await until(() => recorder.has('end'));
    assert.equal(recorder.text, 'last words');
    recorder.connection.end();
    await closed(socket.resume());
  });

  check('hundreds of connections at once, each with its own bytes', async (t, transport) => {
    const { port } = await serve(t, transport, echo);
    const clients = Array.from({ length: 400 }, (_, index) =>
      dial(transport, port, (recorder) => {
        const message = `${index}:${'m'.repeat((index * 97) % 30_000)};`;
        recorder.onEvent = (event) => {
          if (event === 'connect') recorder.connection.write(message);
        };
        recorder.onBytes = () => {
          if (recorder.bytes < message.length) return;
          assert.equal(recorder.hash.copy().digest('hex'), createHash('sha1').update(message).digest('hex'));
          recorder.connection.end();
        };
      }),
    );
    await until(() => clients.every((client) => client.has('close')));
    assert.ok(clients.every((client) => client.events.at(-1) === 'close'));
  });

  check('connections that die while both sides write harm no other', async (t, transport) => {
    const { port, accepted } = await serve(t, transport, echo);
    const sockets = new Set<Socket>();
    const flood = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(port, localhost);
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('data', () => {
          if (socket.bytesRead > 300_000) {
            if (sockets.size % 2 === 0) socket.resetAndDestroy();
            else socket.destroy();
          } else socket.write(Buffer.alloc(50_000));
        });
        socket.on('close', () => resolve());
        socket.write(Buffer.alloc(200_000));
      });
    const steady = dial(transport, port, (recorder) => {
      recorder.onEvent = (event) => {
        if (event === 'connect') recorder.connection.write('.');
      };
      recorder.onBytes = () => recorder.connection.write('.');
    });
    for (let round = 0; round < 5; round += 1) {
      const floods = Array.from({ length: 20 }, flood);
      // Half of the server's own ends are cut under way, too.
      accepted.forEach((recorder, index) => {
        if (index % 7 === 3 && recorder.bytes > 100_000) recorder.connection.destroy();
      });
      await Promise.all(floods);
    }
    const before = steady.bytes;
    await until(() => steady.bytes > before + 10);
    assert.ok(!steady.has('close'));
    steady.connection.destroy();
    await until(() => steady.has('close') && accepted.every((recorder) => recorder.has('close')));
  });

  check('closing a listener refuses new connections and keeps the old', async (t, transport) => {
    const { port, accepted, listener } = await serve(t, transport, echo);
    const client = dial(transport, port);
    await until(() => client.has('connect') && accepted.length === 1);
    listener.close();
    await until(async () => {
      const late = dial(transport, port);
      await until(() => late.events.length > 0);
      const refused = late.has('ECONNREFUSED');
      late.connection.destroy();
      await until(() => late.has('close'));
      return refused;
    });
    client.connection.write('still here');
    await until(() => client.text === 'still here');
    client.connection.end();
    await until(() => client.has('close'));
  });

  check('an inherited listening socket is served, also one that does not block', async (t, transport) => {
    const { libc } = openKernel();
    const address = encodeSocketAddress(localhost, 0);
    const fd = libc.socket(2, 1 | 0x800, 0); // AF_INET, SOCK_STREAM|SOCK_NONBLOCK
    assert.equal(libc.bind(fd, address, address.length), 0);
    const prepared: Recorder[] = [];
    const acceptor = {
      accept(connection: Connection): ConnectionHandler {
        const recorder = new Recorder();
        recorder.connection = connection;
        echo(recorder);
        prepared.push(recorder);
        return recorder;
      },
    };
    const listener = await transport.listen({ kind: 'fd', fd }, acceptor, {
      onError: (error) => assert.fail(error),
    });
    t.after(() => listener.close());
    for (let round = 0; round < 3; round += 1) {
      const client = dial(transport, listener.port);
      client.connection.write('inherited');
      await until(() => client.text === 'inherited');
      client.connection.end();
      await until(() => client.has('close') && prepared.at(-1)?.has('close') === true);
    }
    assert.equal(prepared.length, 3);
  });

  check('a name is looked up; giving up meanwhile closes once', async (t, transport) => {
    const { port } = await serve(t, transport, echo);
    const client = new Recorder();
    client.connection = transport.connect('localhost', port, client);
    client.connection.write('by name');
    const given = new Recorder();
    given.connection = transport.connect('localhost', port, given);
    given.connection.destroy();
    await until(() => client.text === 'by name' && given.has('close'));
    client.connection.destroy();
    await until(() => client.has('close'));
    assert.deepEqual(given.events, ['close']);
  });

  check('timers and other sockets of the process go on under load', async (t, transport) => {
    const { port } = await serve(t, transport, echo);
    const clients = Array.from({ length: 8 }, () =>
      dial(transport, port, (recorder) => {
        recorder.onEvent = (event) => {
          if (event === 'connect') recorder.connection.write('ping');
        };
        recorder.onBytes = () => recorder.connection.write('ping');
      }),
    );
    await until(() => clients.every((client) => client.bytes > 100));
    const other = createServer((socket) => socket.pipe(socket)).listen(0, localhost);
    await once(other, 'listening');
    const socket = connect((other.address() as AddressInfo).port, localhost);
    for (let round = 0; round < 50; round += 1) {
      socket.write('x');
      await once(socket, 'data');
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    socket.destroy();
    other.close();
    for (const client of clients) client.connection.destroy();
    await until(() => clients.every((client) => client.has('close')));
  });

  check('with nothing to carry, the rest of the process goes on', async (t, transport) => {
    const { port } = await serve(t, transport, echo);
    const order: string[] = [];
    await new Promise((resolve) => setTimeout(resolve, 30)); // whoever sleeps for the ring does by now
    setTimeout(() => order.push('timer'), 5);
    await until(() => order.includes('timer'));
    assert.match(await readFile(import.meta.filename, 'utf8'), /nothing to carry/);
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end('from another process');
    assert.equal(await text(child.stdout), 'from another process');
    const other = createServer((socket) => socket.end('from a socket')).listen(0, localhost);
    await once(other, 'listening');
    assert.equal(await text(connect((other.address() as AddressInfo).port, localhost)), 'from a socket');
    other.close();
    const client = dial(transport, port, (recorder) => {
      recorder.onBytes = () => {
        void Promise.resolve().then(() => order.push('promise'));
        process.nextTick(() => order.push('tick'));
      };
    });
    client.connection.write('x');
    await until(() => order.length === 3);
    assert.deepEqual(
      order,
      ['timer', 'tick', 'promise'],
      'what a handler leaves for later is not left for ever',
    );
    client.connection.destroy();
  });

  // libuv takes connections and drops them when it has no descriptor left.
  if (name === 'uring')
    check('without descriptors connections wait, and are taken once there are some', async (t, transport) => {
      const soft = /open files +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
      const setLimit = (count: number | string): void => {
        execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${count}:`]);
      };
      const failures: string[] = [];
      const { port, accepted } = await serve(t, transport, echo, ({ message }) => failures.push(message));
      setLimit(readdirSync('/proc/self/fd').length + 40);
      t.after(() => setLimit(soft ?? 1024));
      const taken = takeDescriptors();
      for (const fd of taken.splice(0, 8)) closeSync(fd);
      const sockets = Array.from({ length: 8 }, () => connect(port, localhost));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      await until(() => failures.length > 0);
      assert.equal(accepted.length, 0);
      assert.match(failures[0] ?? '', /EMFILE/);
      for (const fd of taken) closeSync(fd);
      await until(() => accepted.length === sockets.length);
      for (const socket of sockets) socket.destroy();
    });
}

/** All that this process may have. */
function takeDescriptors(): number[] {
  const taken: number[] = [];
  for (;;) {
    try {
      taken.push(openSync('/dev/null', 'r'));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EMFILE');
      return taken;
    }
  }
}
