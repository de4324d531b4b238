/**
 * SPDY/3.1 framing, as far as exec and attach towards a kubelet need it (draft-mbelshe-httpbis-spdy-00 §2; its flow
 * control is not used by Kubernetes' streaming servers). Pure: bytes to frames and back.
 */

export type SpdyFrame =
  | { readonly kind: 'data'; readonly streamId: number; readonly fin: boolean; readonly data: Buffer }
  | { readonly kind: 'reset'; readonly streamId: number; readonly status: number }
  | { readonly kind: 'goaway' }
  | { readonly kind: 'ping'; readonly id: number }
  /** One that tells us nothing: SYN_REPLY, SETTINGS, HEADERS, WINDOW_UPDATE and unknown ones. */
  | { readonly kind: 'other'; readonly type: number };

const version = 3;
const typeSynStream = 1;
const typeReset = 3;
const typePing = 6;
const typeGoaway = 7;
const flagFin = 1;
const headBytes = 8;

/** Largest frame that is taken. A streaming server's are 32 KiB; beyond this the peer speaks something else. */
export const frameBytesMax = 1024 * 1024;

/** Largest header block that is written, bytes: what one stored block of deflate holds. */
export const headerBlockBytesMax = 65_535;

/** Cuts a byte stream into frames. `push` throws RangeError when the bytes are not SPDY/3 or a frame is too large. */
export function spdyReader(): { push(chunk: Buffer): readonly SpdyFrame[] } {
  let rest: Buffer = Buffer.of();
  return {
    push(chunk) {
      let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      const frames: SpdyFrame[] = [];
      while (bytes.length >= headBytes) {
        const length = bytes.readUIntBE(5, 3);
        if (length > frameBytesMax) {
          throw new RangeError(`SPDY frame of ${length} bytes: at most ${frameBytesMax} are taken`);
        }
        if (bytes.length < headBytes + length) break;
        frames.push(parseFrame(bytes.subarray(0, headBytes), bytes.subarray(headBytes, headBytes + length)));
        bytes = bytes.subarray(headBytes + length);
      }
      rest = bytes;
      return frames;
    },
  };
}

function parseFrame(head: Buffer, payload: Buffer): SpdyFrame {
  const flags = head.readUInt8(4);
  const first = head.readUInt32BE(0);
  if (first < 2 ** 31) return { kind: 'data', streamId: first, fin: (flags & flagFin) !== 0, data: payload };
  const gotVersion = head.readUInt16BE(0) & 0x7fff;
  if (gotVersion !== version) throw new RangeError(`SPDY version ${gotVersion}: only ${version} is spoken`);
  const type = head.readUInt16BE(2);
  switch (type) {
    case typeReset:
      requireLength(type, payload, 8);
      return {
        kind: 'reset',
        streamId: payload.readUInt32BE(0) & 0x7fffffff,
        status: payload.readUInt32BE(4),
      };
    case typePing:
      requireLength(type, payload, 4);
      return { kind: 'ping', id: payload.readUInt32BE(0) };
    case typeGoaway:
      return { kind: 'goaway' };
    default:
      return { kind: 'other', type };
  }
}

function requireLength(type: number, payload: Buffer, least: number): void {
  if (payload.length < least) throw new RangeError(`SPDY frame of type ${type} is cut off`);
}

export function dataFrame(streamId: number, data: Uint8Array, fin: boolean): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(streamId, 0);
  head.writeUInt8(fin ? flagFin : 0, 4);
  head.writeUIntBE(data.length, 5, 3);
  return Buffer.concat([head, data]);
}

export function pingFrame(id: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(id);
  return controlFrame(typePing, 0, payload);
}

function controlFrame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt16BE(0x8000 | version, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(flags, 4);
  head.writeUIntBE(payload.length, 5, 3);
  return Buffer.concat([head, payload]);
}

/**
 * Writes the SYN_STREAM frames of one connection. Header blocks of a connection are one zlib stream; ours are stored
 * blocks, which every inflater reads, so there is neither a compressor nor SPDY's dictionary here. Each ends with an
 * empty block, which makes the reader hand out what it has.
 */
export function synStreamWriter(): (streamId: number, headers: Readonly<Record<string, string>>) => Buffer {
  let isFirst = true;
  return (streamId, headers) => {
    const ids = Buffer.alloc(10); // stream, associated stream, priority and slot
    ids.writeUInt32BE(streamId, 0);
    const plain = headerBlock(headers);
    if (plain.length > headerBlockBytesMax) {
      throw new RangeError(`SPDY headers of ${plain.length} bytes: at most ${headerBlockBytesMax} are sent`);
    }
    const payload = [ids, ...(isFirst ? [zlibHead] : []), storedBlock(plain), storedBlock(Buffer.of())];
    isFirst = false;
    return controlFrame(typeSynStream, 0, Buffer.concat(payload));
  };
}

/** RFC 1950: deflate with a 32 KiB window, no preset dictionary. */
const zlibHead = Buffer.of(0x78, 0x01);

/** RFC 1951 §3.2.4. */
function storedBlock(data: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(data.length, 1);
  head.writeUInt16LE(0xffff - data.length, 3);
  return Buffer.concat([head, data]);
}

function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const entries = Object.entries(headers);
  return Buffer.concat([
    uint32(entries.length),
    ...entries.flatMap(([name, value]) => [text(name.toLowerCase()), text(value)]),
  ]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
