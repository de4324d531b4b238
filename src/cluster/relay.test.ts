import assert from 'node:assert/strict';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { silentLogger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { relayDefaults, runRelay } from './relay.ts';

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** A relay from a fresh port to `port`; stopped after `use`. */
async function withRelay(
  port: number,
  use: (relayPort: number) => Promise<void>,
  targetAddresses: readonly string[] = ['127.0.0.1'],
): Promise<void> {
  const probe = createServer();
  const relayPort = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  const fd = openSocket('tcp', '127.0.0.1', relayPort);
  const stop = new AbortController();
  const options = { ...relayDefaults, targetAddresses };
  const running = runRelay([{ fd, port }], options, silentLogger, stop.signal);
  try {
    await use(relayPort);
  } finally {
    stop.abort();
    await running;
  }
}

/** All that comes until the other side ends; leaves our side open. */
function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('error', reject);
    socket.once('end', () => resolve(Buffer.concat(chunks).toString()));
  });
}

test('bytes go both ways, and one direction can end before the other', async () => {
  const upstream = createServer({ allowHalfOpen: true }, (socket) => {
    void readAll(socket).then((text) => socket.end(`got ${text.length}`));
  });
  const port = await listen(upstream);
  try {
    await withRelay(port, async (relayPort) => {
      const client = connect({ port: relayPort, host: '127.0.0.1', allowHalfOpen: true });
      client.end('x'.repeat(1_000_000));
      assert.equal(await readAll(client), 'got 1000000');
    });
  } finally {
    await new Promise((resolve) => upstream.close(resolve));
  }
});

test('a refused connection is passed on as a reset', async () => {
  const probe = createServer();
  const closedPort = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  await withRelay(closedPort, async (relayPort) => {
    const client = connect({ port: relayPort, host: '127.0.0.1' });
    await assert.rejects(readAll(client), { code: 'ECONNRESET' });
  });
});

test('an address that refuses is followed by the next, as for a Service of one family', async () => {
  const upstream = createServer((socket) => socket.end('here'));
  const port = await listen(upstream);
  try {
    await withRelay(
      port,
      async (relayPort) => {
        assert.equal(await readAll(connect({ port: relayPort, host: '127.0.0.1' })), 'here');
      },
      ['127.0.0.2', '127.0.0.1'],
    );
  } finally {
    await new Promise((resolve) => upstream.close(resolve));
  }
});
