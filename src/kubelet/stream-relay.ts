import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';

/** How long the runtime's stream server may take to accept, ms. */
const connectTimeoutMs = 5_000;

/** Headers that the upgrade is made of; they go through as they came. */
const relayed =
  /^(connection|upgrade|x-stream-protocol-version|sec-websocket-.*|content-length|user-agent|origin)$/i;

/**
 * Hands an upgraded connection to the runtime's stream server at `url`: the head is written anew, from then on bytes go
 * both ways unread, whatever protocol it is. Resolves when either side has ended.
 */
export async function relayStream(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  url: string,
): Promise<void> {
  const target = new URL(url);
  const server = connect({ host: target.hostname, port: Number(target.port), timeout: connectTimeoutMs });
  server.setNoDelay(true);
  const ended = new Promise<void>((resolve) => {
    const end = () => {
      server.destroy();
      client.destroy();
      resolve();
    };
    server.once('error', end); // nobody is left to tell: the client's connection just ends
    client.once('error', end);
    server.once('timeout', end);
    server.once('close', () => client.end(resolve));
    client.once('close', () => server.end(resolve));
  });
  server.once('connect', () => {
    server.setTimeout(0);
    server.write(requestHead(request, target));
    if (head.length > 0) server.write(head);
    client.pipe(server);
    server.pipe(client);
  });
  await ended;
}

function requestHead(request: IncomingMessage, target: URL): string {
  const lines = [
    `${request.method ?? 'POST'} ${target.pathname}${target.search} HTTP/1.1`,
    `Host: ${target.host}`,
  ];
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (relayed.test(name)) lines.push(`${name}: ${request.rawHeaders[index + 1] ?? ''}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}
