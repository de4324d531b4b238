import type { Server } from 'node:tls';

/**
 * Cuts connections whose handshake fails or is not through in time. Node only tells of them: without this a client that says nothing, or
 * ends in the middle of its handshake, would hold its socket for ever.
 */
export function cutFailedHandshakes(server: Server): void {
  server.on('tlsClientError', (_, socket) => socket.destroy());
}
