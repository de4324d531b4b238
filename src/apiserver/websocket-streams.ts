import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { JsonObject } from '../api/object.ts';
import type { UpgradedConnection } from './exchange.ts';
import type { SpdyConnection } from './kubelet-upgrade.ts';
import { channelCodec } from './websocket-codec.ts';
import { dataFrame, pingFrame, type SpdyFrame, spdyReader, synStreamWriter } from './spdy.ts';

/**
 * exec, attach and port-forward for clients that speak WebSocket (kubectl from 1.30 on, and the client libraries),
 * towards kubelets, which speak SPDY/3.1. See docs/decisions/0011-websocket-streams.md.
 */

/**
 * Best first. v5 is v4 with a message that closes one stream. The first of all, without a number, has a text on the channel
 * of errors instead of a Status, and nothing there where the command succeeds.
 */
export const channelProtocols = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v4.base64.channel.k8s.io',
  'channel.k8s.io',
  'base64.channel.k8s.io',
] as const;
export type ChannelProtocol = (typeof channelProtocols)[number];

/** SPDY frames inside WebSocket messages. */
export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

/** What the kubelet is asked for on its side. */
export const kubeletChannelProtocol = 'v4.channel.k8s.io';
export const kubeletForwardProtocol = 'portforward.k8s.io';

/** First byte of each message. */
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
type StreamType = keyof typeof channels;
/** v5: the channel in the second byte is closed by the client. */
const closeChannel = 255;

/** Largest message that a client may send, bytes. Beyond it the connection ends with code 1009. */
export const messageBytesMax = 1024 * 1024;
/** Of a Status that is read for a client of the first protocol, bytes; the rest is left out, so that it is told as it stands. */
const statusBytesMax = 64 * 1024;
/** Bytes waiting for a slow client; beyond them the kubelet's side is not read. */
export const bufferedBytesMax = 1024 * 1024;

/** The subprotocol of the client's list that we speak best, among `known`. */
export function chooseProtocol(header: string | undefined, known: readonly string[]): string | undefined {
  const offered = new Set((header ?? '').split(',').map((part) => part.trim()));
  return known.find((protocol) => offered.has(protocol));
}

/** Answers the upgrade; resolves with the open WebSocket, which is paused. */
export function acceptWebSocket(
  incoming: IncomingMessage,
  client: UpgradedConnection,
  protocol: string,
): Promise<WebSocket> {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: messageBytesMax,
    handleProtocols: () => protocol,
  });
  return new Promise((resolve) => {
    server.handleUpgrade(incoming, client.socket, client.head, (socket) => {
      socket.pause(); // until somebody listens
      resolve(socket);
    });
  });
}

/** Carries bytes both ways until either side has ended: the tunnel of port-forward. */
export async function tunnel(websocket: WebSocket, kubelet: SpdyConnection): Promise<void> {
  const { socket } = kubelet;
  const outbox = outboxOf(websocket, socket);
  const ended = joinEnds(websocket, socket, outbox);
  websocket.on('message', (data, isBinary) => {
    if (!isBinary) websocket.close(1003, 'binary messages only');
    else if (!socket.write(bytesOf(data))) websocket.pause();
  });
  socket.on('drain', () => websocket.resume());
  if (kubelet.head.length > 0) outbox.send(kubelet.head);
  socket.on('data', (chunk: Buffer) => outbox.send(chunk));
  socket.once('end', () => outbox.close());
  websocket.resume();
  socket.resume();
  await ended;
}

/** Which streams a client wants, as its query says. */
export type WantedStreams = {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
};

/** In the order in which Kubernetes' own client opens them. */
export function streamTypes({ stdin, stdout, stderr, tty }: WantedStreams): readonly StreamType[] {
  return [
    'error',
    ...(stdin ? (['stdin'] as const) : []),
    ...(stdout ? (['stdout'] as const) : []),
    // A terminal has one output.
    ...(stderr && !tty ? (['stderr'] as const) : []),
    ...(tty ? (['resize'] as const) : []),
  ];
}

/** Carries exec or attach: a channel of the client is a stream of the kubelet. Resolves when it is over. */
export async function relayChannels(
  websocket: WebSocket,
  kubelet: SpdyConnection,
  protocol: ChannelProtocol,
  wanted: WantedStreams,
): Promise<void> {
  const { socket } = kubelet;
  const codec = channelCodec(protocol);
  const outbox = outboxOf(websocket, socket, codec.isText);
  const ended = joinEnds(websocket, socket, outbox);
  const types = streamTypes(wanted);
  const streams = openStreams(socket, types);
  const send = (message: Buffer): void => outbox.send(codec.encode(message));
  websocket.on('message', (data) => {
    const message = codec.decode(bytesOf(data));
    if (message === undefined) websocket.close(1007, 'a channel and base64 only');
    else if (!fromClient(socket, streams, protocol, message)) websocket.pause();
  });
  socket.on('drain', () => websocket.resume());
  // Tells the client that the streams are open.
  send(Buffer.of(channels[types.find((type) => type === 'stdout' || type === 'stderr') ?? 'error']));
  const output = kubeletOutput(streams, send, protocol);
  const finish = (): void => {
    if (!output.hasStatus()) output.fail(connectionLost);
    outbox.close();
    socket.end();
  };
  const reader = spdyReader();
  const onData = (chunk: Buffer): void => {
    try {
      for (const frame of reader.push(chunk)) {
        if (frame.kind === 'ping') socket.write(pingFrame(frame.id));
        else output.take(frame);
      }
      if (output.isOver()) finish();
    } catch (error) {
      // What the kubelet sends is no SPDY; nothing that follows can be understood.
      websocket.close(1011, error instanceof Error ? error.message.slice(0, 100) : 'bad frame');
      socket.destroy();
    }
  };
  if (kubelet.head.length > 0) onData(kubelet.head);
  socket.on('data', onData);
  socket.once('end', finish);
  websocket.resume();
  socket.resume();
  await ended;
}

const connectionLost = Buffer.from(
  JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: 'the connection to the kubelet ended before the command did',
    reason: 'InternalError',
    code: 500,
  }),
);

type Streams = ReadonlyMap<StreamType, number>;

function openStreams(socket: TLSSocket, types: readonly StreamType[]): Streams {
  const write = synStreamWriter();
  const streams = new Map<StreamType, number>();
  types.forEach((streamType, position) => {
    const id = position * 2 + 1; // the side that dials has the odd ones
    streams.set(streamType, id);
    socket.write(write(id, { streamtype: streamType }));
  });
  return streams;
}

/** False: the kubelet is slower than the client. */
function fromClient(
  socket: TLSSocket,
  streams: Streams,
  protocol: ChannelProtocol,
  message: Buffer,
): boolean {
  const [channel, closed] = message;
  const isClose = channel === closeChannel && protocol === 'v5.channel.k8s.io';
  const wanted = isClose ? closed : channel;
  const streamType = (['stdin', 'resize'] as const).find((name) => channels[name] === wanted);
  const id = streamType === undefined ? undefined : streams.get(streamType);
  if (id === undefined) return true; // a channel that nobody reads
  if (isClose) return socket.write(dataFrame(id, Buffer.of(), true));
  return message.length === 1 || socket.write(dataFrame(id, message.subarray(1), false));
}

type KubeletOutput = {
  take(frame: SpdyFrame): void;
  /** All that the command may still say was said. */
  isOver(): boolean;
  hasStatus(): boolean;
  /** Tells the client of the end by a Status. */
  fail(status: Buffer): void;
};

function kubeletOutput(
  streams: Streams,
  send: (message: Buffer) => void,
  protocol: ChannelProtocol,
): KubeletOutput {
  const isPlain = !protocol.startsWith('v');
  let unread = Buffer.alloc(0);
  const sendOn = (channel: number, data: Uint8Array): void => send(Buffer.concat([Buffer.of(channel), data]));
  const failPlain = (document: Buffer): void => {
    const text = failureIn(document);
    if (text !== undefined) sendOn(channels.error, Buffer.from(text));
  };
  const open = new Map<number, number>();
  for (const type of ['error', 'stdout', 'stderr'] as const) {
    const id = streams.get(type);
    if (id !== undefined) open.set(id, channels[type]);
  }
  let status = false;
  return {
    take(frame) {
      if (frame.kind !== 'data' && frame.kind !== 'reset') return;
      const channel = open.get(frame.streamId);
      if (channel === undefined) return;
      if (frame.kind === 'data' && frame.data.length > 0) {
        if (channel === channels.error) status = true;
        if (channel !== channels.error || !isPlain) sendOn(channel, frame.data);
        else unread = Buffer.concat([unread, frame.data]).subarray(0, statusBytesMax);
      }
      if (frame.kind === 'data' && !frame.fin) return;
      open.delete(frame.streamId);
      if (channel === channels.error && isPlain && status) failPlain(unread);
    },
    isOver: () => open.size === 0,
    hasStatus: () => status,
    fail: isPlain ? failPlain : (document) => sendOn(channels.error, document),
  };
}

/** What a Status says of a failure; undefined where it tells of success. What is no Status is taken as the text itself. */
function failureIn(document: Buffer): string | undefined {
  try {
    const status = JSON.parse(document.toString()) as JsonObject | null;
    if (status?.['status'] === 'Success') return undefined;
    return typeof status?.['message'] === 'string' ? status['message'] : document.toString();
  } catch {
    return document.toString();
  }
}

type Outbox = {
  send(message: Buffer): void;
  /** Ends the WebSocket behind what was sent. */
  close(): void;
};

/**
 * Sends to the client one message after the other, and stops reading the kubelet while too much waits. Each message is a
 * TLS record of its own: some clients, Python's among them, wait for the socket and would not see a second message that
 * came in the same record.
 */
export function outboxOf(websocket: WebSocket, kubelet: TLSSocket, isText = false): Outbox {
  const waiting: Buffer[] = [];
  let waitingBytes = 0;
  let isSending = false;
  let isClosing = false;
  const next = (): void => {
    const message = waiting.shift();
    if (message === undefined || websocket.readyState !== websocket.OPEN) {
      isSending = false; // a client that is gone gets nothing; the end is on its way
      if (isClosing) websocket.close(1000);
      return;
    }
    isSending = true;
    waitingBytes -= message.length;
    websocket.send(message, { binary: !isText }, () => {
      if (waitingBytes <= bufferedBytesMax) kubelet.resume();
      next();
    });
  };
  return {
    send(message) {
      waiting.push(message);
      waitingBytes += message.length;
      if (waitingBytes > bufferedBytesMax) kubelet.pause();
      if (!isSending) next();
    },
    close() {
      isClosing = true;
      websocket.resume(); // the client's own close message must be read
      if (!isSending) websocket.close(1000);
    },
  };
}

/** Resolves when the WebSocket has ended; either side's end is the other's. */
export function joinEnds(websocket: WebSocket, kubelet: TLSSocket, outbox: Outbox): Promise<void> {
  return new Promise((resolve) => {
    // An error of either side ends both; there is nobody left to tell.
    kubelet.on('error', () => websocket.terminate());
    kubelet.once('close', () => outbox.close());
    websocket.on('error', () => kubelet.destroy());
    websocket.once('close', () => {
      kubelet.destroy();
      resolve();
    });
  });
}

export function bytesOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
