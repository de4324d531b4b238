/** Small messages back and forth over upgraded connections, as WebSockets have them (by a name that no proxy reads into): what the relay costs. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { cpuOf } from './load.ts';

export type Echoed = {
  readonly messages: number;
  /** CPU of the proxy for a message and its echo, µs. */
  readonly cpuUs: number;
  readonly perSecond: number;
  readonly failed: number;
};

const message = Buffer.alloc(64, 'm');

/** Upgrades whatever asks for it and sends back what comes. */
export async function startEcho(): Promise<{ readonly port: number; close(): void }> {
  const server = createServer();
  server.on('upgrade', (_, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

export async function measureEcho(
  pid: number,
  port: number,
  host: string,
  options: { readonly connections: number; readonly seconds: number },
): Promise<Echoed> {
  let messages = 0;
  let failed = 0;
  let over = false;
  const opened = await Promise.all(Array.from({ length: options.connections }, () => open(port, host)));
  const before = cpuOf(pid);
  for (const socket of opened) {
    let bytes = 0;
    socket.on('data', (data) => {
      bytes += data.length;
      if (bytes < message.length) return;
      bytes = 0;
      messages += 1;
      if (!over) socket.write(message);
    });
    socket.on('close', () => {
      if (!over) failed += 1;
    });
    socket.write(message);
  }
  await new Promise((resolve) => setTimeout(resolve, options.seconds * 1000));
  over = true;
  const after = cpuOf(pid);
  for (const socket of opened) socket.destroy();
  const cpuUs = (after.userUs + after.systemUs - before.userUs - before.systemUs) / messages;
  return { messages, cpuUs, perSecond: messages / options.seconds, failed };
}

async function open(port: number, host: string) {
  const socket = connect(port, '127.0.0.1');
  socket.setNoDelay(true);
  socket.write(`GET /echo HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
  const [head] = (await once(socket, 'data')) as [Buffer];
  if (!head.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(`not upgraded: ${String(head)}`);
  return socket;
}
