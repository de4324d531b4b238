import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { badRequest, tooManyRequests } from '../api/status.ts';
import { authenticate } from './authenticate.ts';
import { admitConnection } from './connect-admission.ts';
import type { ApiContext, Target } from './context.ts';
import { catchUp } from './freshness.ts';
import type { ApiRequest, UpgradedConnection } from './exchange.ts';
import { peerOf, readRequest, statusFor } from './http.ts';
import { requireEntry } from './list.ts';
import { parseEntry } from './objects.ts';
import { isStreamSubresource, type StreamSubresource, streamPath } from './pod-streams.ts';
import { isTrue, type RequestInfo } from './request-info.ts';
import { authorize, parseInfo, resolveTarget } from './router.ts';
import type { ChannelProtocol } from './websocket-streams.ts';

/**
 * Answers an HTTP/1.1 request that asks for an upgrade: exec, attach, port-forward, logs, proxy, and whatever another server
 * does by one for its group version. Never rejects.
 */
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
  const trail = context.audit?.begin(anonymousRequest, info, user);
  const asked = { ...anonymousRequest, user, audit: trail };
  try {
    const request = authorize(context, asked, info);
    trail?.started(101);
    await relayStream(context, incoming, request, info, { socket, head });
    trail?.complete(101);
  } catch (error) {
    const status = statusFor(context, error, incoming);
    trail?.complete(status.code, status);
    throw error;
  }
}

async function relayStream(
  context: ApiContext,
  incoming: IncomingMessage,
  request: ApiRequest,
  info: RequestInfo,
  { socket, head }: UpgradedConnection,
): Promise<void> {
  if (info.kind !== 'resource') throw badRequest('this path cannot be upgraded');
  await catchUp(context, request);
  const remote = context.aggregation.find(info.group, info.version);
  if (remote !== undefined) {
    const { relayUpgradeToApi } = await import('./aggregation/relay.ts');
    await relayUpgradeToApi(context, remote, request, incoming.headers.upgrade ?? '', { socket, head });
    return;
  }
  const { kind, target } = resolveTarget(context, request, info);
  const { subresource } = target;
  if (subresource === 'proxy' && kind.subresources.includes('proxy')) {
    const { relayProxyUpgrade } = await import('./proxy.ts');
    await relayProxyUpgrade(context, target, incoming, { socket, head });
    return;
  }
  const protocol = (incoming.headers.upgrade ?? '').toLowerCase();
  const isPod = kind.group === '' && kind.plural === 'pods';
  if (isPod && subresource === 'log' && protocol === 'websocket') {
    const { relayLog } = await import('./websocket-log.ts');
    await relayLog(context, target, incoming, { socket, head });
    return;
  }
  if (!isPod || !isStreamSubresource(subresource)) throw badRequest('this path cannot be upgraded');
  const pod = parseEntry(requireEntry(context, target));
  await admitConnection(context, target);
  const { nodeName, path } = streamPath(pod, target, subresource);
  if (protocol === 'spdy/3.1') {
    const { relaySpdy } = await import('./kubelet-upgrade.ts');
    const timeoutMs = context.config.limits.kubeletConnectTimeoutMs;
    await relaySpdy(context.kubelets, { nodeName, path, incoming }, { socket, head }, timeoutMs);
    return;
  }
  if (protocol !== 'websocket') {
    throw badRequest(`unable to upgrade: this server streams by WebSocket and SPDY/3.1, not by ${protocol}`);
  }
  await relayWebSocket(context, { incoming, socket, head }, { target, subresource, nodeName, path });
}

type Upgrading = { readonly incoming: IncomingMessage; readonly socket: Duplex; readonly head: Buffer };

/** The kubelet is asked first, so that its refusal is still an HTTP answer. */
async function relayWebSocket(
  context: ApiContext,
  { incoming, socket, head }: Upgrading,
  wanted: {
    readonly target: Target;
    readonly subresource: StreamSubresource;
    readonly nodeName: string;
    readonly path: string;
  },
): Promise<void> {
  const streams = await import('./websocket-streams.ts');
  const { openSpdy } = await import('./kubelet-upgrade.ts');
  const { target, subresource, nodeName, path } = wanted;
  const isForward = subresource === 'portforward';
  const forward = await import('./websocket-forward.ts');
  const known = isForward
    ? [streams.tunnelProtocol, ...forward.forwardChannelProtocols]
    : streams.channelProtocols;
  const protocol = streams.chooseProtocol(incoming.headers['sec-websocket-protocol'], known);
  if (protocol === undefined) {
    throw badRequest(
      `unable to upgrade: the subprotocols that this server speaks here are ${known.join(', ')}`,
    );
  }
  const isTunnel = protocol === streams.tunnelProtocol;
  const ports = isForward && !isTunnel ? forward.forwardedPorts(target.request.query) : [];
  const kubelet = await openSpdy(
    context.kubelets,
    nodeName,
    path,
    isForward ? streams.kubeletForwardProtocol : streams.kubeletChannelProtocol,
  );
  socket.once('close', () => kubelet.socket.destroy());
  const websocket = await streams.acceptWebSocket(incoming, { socket, head }, protocol);
  if (isForward) {
    await (isTunnel ? streams.tunnel(websocket, kubelet) : forward.relayForward(websocket, kubelet, ports));
    return;
  }
  const asks = (flag: string): boolean => isTrue(target.request.query.get(flag));
  await streams.relayChannels(websocket, kubelet, protocol as ChannelProtocol, {
    stdin: asks('stdin'),
    stdout: asks('stdout'),
    stderr: asks('stderr'),
    tty: asks('tty'),
  });
}
