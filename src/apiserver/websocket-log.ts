import type { IncomingMessage } from 'node:http';
import { badRequest } from '../api/status.ts';
import type { ApiContext, Target } from './context.ts';
import type { UpgradedConnection } from './exchange.ts';
import { openLog } from './pod-streams.ts';
import { acceptWebSocket, chooseProtocol } from './websocket-streams.ts';

/** Best first: the log's bytes in binary messages, or as base64 in text messages. */
export const logProtocols = ['binary.k8s.io', 'base64.binary.k8s.io'] as const;

/**
 * A Pod's log for a client that asks for it by WebSocket, piece by piece as fast as the client takes them. The kubelet is asked
 * first, so that its refusal is still an HTTP answer. Resolves when it is over; throws StatusError.
 */
export async function relayLog(
  context: ApiContext,
  target: Target,
  incoming: IncomingMessage,
  client: UpgradedConnection,
): Promise<void> {
  const protocol = chooseProtocol(incoming.headers['sec-websocket-protocol'], logProtocols);
  if (protocol === undefined) {
    throw badRequest(
      `unable to upgrade: the subprotocols that this server speaks here are ${logProtocols.join(', ')}`,
    );
  }
  const log = await openLog(context, target);
  client.socket.once('close', () => log.destroy());
  const websocket = await acceptWebSocket(incoming, client, protocol);
  const closed = new Promise<void>((resolve) => websocket.once('close', () => resolve()));
  websocket.on('error', () => websocket.terminate()); // the client is gone, or speaks no WebSocket
  websocket.resume(); // it has nothing to say but its own end
  try {
    for await (const chunk of log) {
      const bytes = chunk as Buffer;
      const message = protocol === 'binary.k8s.io' ? bytes : bytes.toString('base64');
      await new Promise<void>((resolve) => websocket.send(message, () => resolve()));
    }
    websocket.close(1000);
  } catch {
    websocket.close(1011, 'the connection to the kubelet ended before the log did');
  }
  await closed;
}
