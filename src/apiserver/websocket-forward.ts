import type { WebSocket } from 'ws';
import { badRequest } from '../api/status.ts';
import type { SpdyConnection } from './kubelet-upgrade.ts';
import { dataFrame, pingFrame, type SpdyFrame, spdyReader, synStreamWriter } from './spdy.ts';
import { bytesOf, joinEnds, outboxOf } from './websocket-streams.ts';

/**
 * port-forward for clients that speak Kubernetes' older WebSocket protocol, as Python's does: two channels a port, 2·i for
 * data and 2·i + 1 for errors, each opened by a message with the port's number. One connection a port; there is no
 * half-close, the WebSocket ends with the last port.
 */
export const forwardChannelProtocols = ['v4.channel.k8s.io'] as const;

/** Channels are one byte, two a port. */
export const portsMax = 128;

/** The ports that a request names: repeated, separated by commas, or both. Throws StatusError 400. */
export function forwardedPorts(query: URLSearchParams): readonly number[] {
  const texts = query.getAll('ports').flatMap((value) => value.split(','));
  const ports = texts.filter((text) => text !== '').map(Number);
  const bad = texts.find((text) => text !== '' && !(/^\d{1,5}$/.test(text) && isPort(Number(text))));
  if (bad !== undefined) throw badRequest(`unable to parse ${JSON.stringify(bad)} as a port`);
  if (ports.length === 0) throw badRequest('query parameter "ports" is required');
  if (ports.length > portsMax) throw badRequest(`at most ${portsMax} ports can be forwarded at a time`);
  return ports;
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

/** Carries the ports until the client or the last port has ended. */
export async function relayForward(
  websocket: WebSocket,
  kubelet: SpdyConnection,
  ports: readonly number[],
): Promise<void> {
  const { socket } = kubelet;
  const outbox = outboxOf(websocket, socket);
  const ended = joinEnds(websocket, socket, outbox);
  const write = synStreamWriter();
  /** Channel by stream; open ones only. */
  const channels = new Map<number, number>();
  ports.forEach((port, position) => {
    const errorStream = position * 4 + 1; // the side that dials has the odd ones
    const dataStream = errorStream + 2;
    const common = { port: String(port), requestid: String(position) };
    socket.write(write(errorStream, { streamtype: 'error', ...common }));
    socket.write(dataFrame(errorStream, Buffer.of(), true)); // nobody writes to it from here
    socket.write(write(dataStream, { streamtype: 'data', ...common }));
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    for (const [stream, channel] of [
      [dataStream, position * 2],
      [errorStream, position * 2 + 1],
    ] as const) {
      channels.set(stream, channel);
      outbox.send(Buffer.concat([Buffer.of(channel), number]));
    }
  });
  websocket.on('message', (message) => {
    const bytes = bytesOf(message);
    const channel = bytes[0] ?? 255;
    // Errors come from the kubelet alone; other channels are nobody's.
    if (channel % 2 === 1 || channel >= ports.length * 2 || bytes.length < 2) return;
    if (!socket.write(dataFrame(channel * 2 + 3, bytes.subarray(1), false))) websocket.pause();
  });
  socket.on('drain', () => websocket.resume());
  const take = (frame: SpdyFrame): void => {
    if (frame.kind === 'ping') socket.write(pingFrame(frame.id));
    if (frame.kind !== 'data' && frame.kind !== 'reset') return;
    const channel = channels.get(frame.streamId);
    if (channel === undefined) return;
    if (frame.kind === 'data' && frame.data.length > 0) {
      outbox.send(Buffer.concat([Buffer.of(channel), frame.data]));
    }
    if (frame.kind === 'reset' || frame.fin) channels.delete(frame.streamId);
    if (![...channels.values()].some((open) => open % 2 === 0)) outbox.close();
  };
  const reader = spdyReader();
  const onData = (chunk: Buffer): void => {
    try {
      for (const frame of reader.push(chunk)) take(frame);
    } catch (error) {
      // What the kubelet sends is no SPDY; nothing that follows can be understood.
      websocket.close(1011, error instanceof Error ? error.message.slice(0, 100) : 'bad frame');
      socket.destroy();
    }
  };
  if (kubelet.head.length > 0) onData(kubelet.head);
  socket.on('data', onData);
  socket.once('end', () => outbox.close());
  websocket.resume();
  socket.resume();
  await ended;
}
