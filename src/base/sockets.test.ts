import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { openSocket, SocketError } from './sockets.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('connections wait until somebody accepts from a handed-over socket', async () => {
  const port = await freePort();
  const fd = openSocket('tcp', '127.0.0.1', port);
  const client = connect(port, '127.0.0.1');
  await new Promise((resolve) => client.once('connect', resolve));
  const server = createServer((socket) => socket.end('hello'));
  server.listen({ fd });
  let text = '';
  for await (const chunk of client) text += String(chunk);
  assert.equal(text, 'hello');
  await new Promise((resolve) => server.close(resolve));
});

test('a taken address is told apart from other failures', async () => {
  const port = await freePort();
  const fd = openSocket('tcp', '127.0.0.1', port);
  try {
    assert.throws(
      () => openSocket('tcp', '127.0.0.1', port),
      (error) => error instanceof SocketError && error.code === 'AddressInUse',
    );
  } finally {
    closeSync(fd);
  }
});
