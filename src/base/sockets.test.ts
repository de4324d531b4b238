import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { openSocket, SocketError, socketAddress } from './sockets.ts';

for (const { address, port, want } of [
  { address: '127.0.0.1', port: 80, want: '0200 0050 7f000001 0000000000000000' },
  { address: '10.41.0.2', port: 6443, want: '0200 192b 0a290002 0000000000000000' },
  { address: '::1', port: 443, want: '0a00 01bb 00000000 00000000000000000000000000000001 00000000' },
  { address: '::', port: 1, want: '0a00 0001 00000000 00000000000000000000000000000000 00000000' },
  {
    address: 'fd00:1::a:b',
    port: 1,
    want: '0a00 0001 00000000 fd00000100000000000000 00000a000b 00000000',
  },
] as const) {
  test(`the kernel's form of ${address} port ${port}`, () => {
    assert.equal(Buffer.from(socketAddress(address, port)).toString('hex'), want.replaceAll(' ', ''));
  });
}

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

test('an address without a plain form is refused', () => {
  assert.throws(() => socketAddress('fe80::1%eth0', 53), RangeError);
});
