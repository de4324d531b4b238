import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { UpgradedConnection } from './exchange.ts';

/**
 * Sends an upgrade request and gives the client what comes back. Only once the other side has agreed (101) do bytes flow both
 * ways unread; any other answer ends the client's connection behind it. Otherwise a client whose upgrade is refused could go
 * on to send requests of its own over a connection that carries this server's credentials. Resolves when either side has
 * ended; rejects with `failed(cause)` when there is no answer at all.
 */
export async function relayUpgrade(
  sending: ClientRequest,
  client: UpgradedConnection,
  failed: (cause: Error) => Error,
): Promise<void> {
  const onClientGone = (): void => void sending.destroy(new Error('the client is gone'));
  client.socket.once('close', onClientGone);
  const outcome = await answerOf(sending).catch((cause: unknown) => {
    throw failed(cause instanceof Error ? cause : new Error(String(cause)));
  });
  client.socket.off('close', onClientGone);
  if (outcome.kind === 'refused') await relayRefusal(outcome.answer, client.socket);
  else await relayBytes(outcome, client);
}

type Outcome =
  | { readonly kind: 'refused'; readonly answer: IncomingMessage }
  | {
      readonly kind: 'agreed';
      readonly answer: IncomingMessage;
      readonly socket: Duplex;
      readonly head: Buffer;
    };

function answerOf(sending: ClientRequest): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    sending.once('response', (answer) => resolve({ kind: 'refused', answer }));
    sending.once('upgrade', (answer, socket, head) => resolve({ kind: 'agreed', answer, socket, head }));
    sending.on('error', reject);
    sending.end();
  });
}

/** Belong to the connection, which ends here. */
const notReturned = /^(connection|keep-alive|transfer-encoding|upgrade)$/i;

async function relayRefusal(answer: IncomingMessage, client: Duplex): Promise<void> {
  client.write(headOf(answer, (name) => !notReturned.test(name), ['Connection: close']));
  try {
    for await (const chunk of answer) {
      if (client.destroyed) return;
      client.write(chunk);
    }
  } catch {
    // cut off: the client gets what came until now, and sees the end
  }
  client.end();
}

function headOf(
  answer: IncomingMessage,
  isKept: (name: string) => boolean,
  more: readonly string[] = [],
): string {
  const lines = [`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage ?? ''}`];
  for (let at = 0; at + 1 < answer.rawHeaders.length; at += 2) {
    const name = answer.rawHeaders[at] ?? '';
    if (isKept(name)) lines.push(`${name}: ${answer.rawHeaders[at + 1] ?? ''}`);
  }
  return `${[...lines, ...more].join('\r\n')}\r\n\r\n`;
}

function relayBytes(
  { answer, socket, head }: Outcome & { kind: 'agreed' },
  client: UpgradedConnection,
): Promise<void> {
  client.socket.write(headOf(answer, () => true));
  if (head.length > 0) client.socket.write(head);
  if (client.head.length > 0) socket.write(client.head);
  socket.pipe(client.socket);
  client.socket.pipe(socket);
  return new Promise((resolve) => {
    const end = (): void => {
      socket.destroy();
      client.socket.destroy();
      resolve();
    };
    // An error of either side ends both; there is nobody left to tell.
    socket.on('error', end);
    client.socket.on('error', end);
    socket.once('close', () => client.socket.end(resolve));
    client.socket.once('close', () => socket.end(resolve));
  });
}
