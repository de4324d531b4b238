import {
  FLOW_CONTROL_ERROR,
  frameBytesMax,
  frameBytesMaxAllowed,
  PROTOCOL_ERROR,
  readUint32,
  SETTINGS_ENABLE_CONNECT_PROTOCOL,
  SETTINGS_ENABLE_PUSH,
  SETTINGS_HEADER_TABLE_SIZE,
  SETTINGS_INITIAL_WINDOW_SIZE,
  SETTINGS_MAX_CONCURRENT_STREAMS,
  SETTINGS_MAX_FRAME_SIZE,
  SETTINGS_MAX_HEADER_LIST_SIZE,
  type Setting,
  windowBytesDefault,
  windowBytesMax,
} from './http2-frame.ts';
import { tableBytesDefault } from './hpack-table.ts';

/** Bounds of one session; see limits.ts for what they mean and their values. */
export type Http2Options = {
  /** `server`: requests come in. `client`: requests go out. */
  readonly role: 'server' | 'client';
  /** Streams that the peer may have open. More: REFUSED_STREAM. */
  readonly streamsMax: number;
  /** Bytes that a peer may send ahead on one stream. */
  readonly streamWindowBytes: number;
  /** The same on all streams of the connection together. */
  readonly connectionWindowBytes: number;
  /** One header block, compressed and not. */
  readonly headBytesMax: number;
  /** Fields of one block. */
  readonly fieldsMax: number;
  readonly continuationsMax: number;
  readonly resetsBurst: number;
  readonly resetsPerSecond: number;
  readonly controlFramesBurst: number;
  readonly controlFramesPerSecond: number;
};

/** What the peer has set (RFC 9113 §6.5.2). */
export type PeerSettings = {
  headerTableBytes: number;
  streamsMax: number;
  initialWindow: number;
  headBytesMax: number;
  extendedConnect: boolean;
};

export function defaultPeerSettings(): PeerSettings {
  return {
    headerTableBytes: tableBytesDefault,
    streamsMax: Number.POSITIVE_INFINITY,
    initialWindow: windowBytesDefault,
    headBytesMax: Number.POSITIVE_INFINITY,
    extendedConnect: false,
  };
}

/** What we tell a peer first. */
export function ownSettings(options: Http2Options): readonly Setting[] {
  const common: Setting[] = [
    [SETTINGS_INITIAL_WINDOW_SIZE, options.streamWindowBytes],
    [SETTINGS_MAX_HEADER_LIST_SIZE, options.headBytesMax],
  ];
  if (options.role === 'client') return [[SETTINGS_ENABLE_PUSH, 0], ...common];
  return [
    [SETTINGS_MAX_CONCURRENT_STREAMS, options.streamsMax],
    ...common,
    [SETTINGS_ENABLE_CONNECT_PROTOCOL, 1],
  ];
}

/** Reads data[start, end), a multiple of 6 bytes, into `peer`. Returns the code of a connection error, if there is one. */
export function readSettings(
  data: Buffer,
  start: number,
  end: number,
  role: Http2Options['role'],
  peer: PeerSettings,
): number | undefined {
  for (let at = start; at < end; at += 6) {
    const id = (data[at]! << 8) | data[at + 1]!;
    const value = readUint32(data, at + 2);
    switch (id) {
      case SETTINGS_HEADER_TABLE_SIZE:
        peer.headerTableBytes = value;
        break;
      case SETTINGS_ENABLE_PUSH:
        // A server may not say that it takes pushes (RFC 9113 §6.5.2).
        if (value > 1 || (role === 'client' && value === 1)) return PROTOCOL_ERROR;
        break;
      case SETTINGS_MAX_CONCURRENT_STREAMS:
        peer.streamsMax = value;
        break;
      case SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > windowBytesMax) return FLOW_CONTROL_ERROR;
        peer.initialWindow = value;
        break;
      case SETTINGS_MAX_FRAME_SIZE:
        if (value < frameBytesMax || value > frameBytesMaxAllowed) return PROTOCOL_ERROR;
        break; // we send no longer frames than the least that all must take
      case SETTINGS_MAX_HEADER_LIST_SIZE:
        peer.headBytesMax = value;
        break;
      case SETTINGS_ENABLE_CONNECT_PROTOCOL:
        if (value > 1 || (peer.extendedConnect && value === 0)) return PROTOCOL_ERROR; // RFC 8441 §3
        peer.extendedConnect = value === 1;
        break;
      default:
        break; // unknown settings are ignored
    }
  }
  return undefined;
}
