import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { badRequest, tooManyRequests } from '../api/status.ts';
import { authenticate } from './authenticate.ts';
import type { ApiContext } from './context.ts';
import { peerOf, readRequest, statusFor } from './http.ts';
import { requireEntry } from './list.ts';
import { parseEntry } from './objects.ts';
import { isStreamSubresource, relayUpgrade, streamPath } from './pod-streams.ts';
import { authorize, parseInfo, resolveTarget } from './router.ts';

/** Answers an HTTP/1.1 request that asks for an upgrade: exec, attach and port-forward. Never rejects. */
export async function serveUpgrade(
  context: ApiContext,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const onError = (): void => void socket.destroy(); // the client is gone; there is nobody to tell
  const onStop = (): void => void socket.destroy();
  socket.on('error', onError);
  signal.addEventListener('abort', onStop, { once: true });
  context.metrics.streams++;
  try {
    await relay(context, incoming, socket, head, signal);
  } catch (error) {
    const status = statusFor(context, error, incoming);
    const body = Buffer.from(JSON.stringify(status));
    socket.end(
      `HTTP/1.1 ${status.code} ${status.reason ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body.toString()}`,
    );
  } finally {
    context.metrics.streams--;
    signal.removeEventListener('abort', onStop);
  }
}

async function relay(
  context: ApiContext,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  signal: AbortSignal,
): Promise<void> {
  if (context.metrics.streams > context.config.limits.streamsMax) {
    throw tooManyRequests('Too many requests, please try again later.', 1);
  }
  const anonymousRequest = readRequest(context, incoming, signal);
  const info = parseInfo(anonymousRequest);
  const user = await authenticate(peerOf(incoming), incoming.headers, context.tokens);
  const request = authorize(context, { ...anonymousRequest, user }, info);
  if (info.kind !== 'resource') throw badRequest('this path cannot be upgraded');
  const { kind, target } = resolveTarget(request, info);
  const { subresource } = target;
  if (kind.group !== '' || kind.plural !== 'pods' || !isStreamSubresource(subresource)) {
    throw badRequest('this path cannot be upgraded');
  }
  const protocol = (incoming.headers.upgrade ?? '').toLowerCase();
  if (protocol !== 'spdy/3.1') {
    // kubectl from 1.30 on offers WebSocket first and comes back with SPDY after any answer but 101.
    throw badRequest(`unable to upgrade: this server streams by SPDY/3.1, not by ${protocol}`);
  }
  const pod = parseEntry(requireEntry(context, target));
  const { nodeName, path } = streamPath(pod, target, subresource);
  const { method = 'GET', rawHeaders } = incoming;
  await relayUpgrade(context.kubelets, { nodeName, path, method, rawHeaders }, { socket, head });
}
