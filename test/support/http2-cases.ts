import { block, frame, get, post, preface, request, settings, type, uint32 } from './http2-frames.ts';

/** Codes of RFC 9113 §7. */
export const code = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
} as const;

export type CodeName = keyof typeof code;

/** What a server must do with the bytes. */
export type Expected =
  /** GOAWAY with one of the codes, and the connection ends. */
  | { readonly goaway: readonly CodeName[] }
  /** RST_STREAM of stream 1 (or `stream`), and a request on a new stream is answered still. */
  | { readonly reset: readonly CodeName[]; readonly stream?: number }
  /** RST_STREAM of stream 1 or GOAWAY, depending on whether it had been answered already. */
  | { readonly either: readonly CodeName[] }
  /** HEADERS come for that stream. */
  | { readonly answered: number }
  /** A PING with these 8 bytes is acknowledged. */
  | { readonly pong: string };

export type Http2Case = {
  /** Of RFC 9113, if no other is named. */
  readonly section: string;
  readonly name: string;
  /** Behind preface and SETTINGS, unless `raw`. */
  readonly send: Buffer;
  /** `send` is all that is sent. */
  readonly raw?: boolean;
  readonly expected: Expected;
};

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const all = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const goaway = (...goaway: CodeName[]): Expected => ({ goaway });
const reset = (...reset: CodeName[]): Expected => ({ reset });
const ping = frame(type.ping, 0, 0, '12345678');
const without = (name: string): readonly (readonly [string, string])[] =>
  get.filter(([field]) => field !== name);
const malformed = (
  section: string,
  name: string,
  fields: readonly (readonly [string, string])[],
): Http2Case => ({
  section,
  name,
  send: request(1, fields),
  expected: reset('PROTOCOL_ERROR'),
});
const fragments = (count: number, bytes: number): Buffer =>
  all(
    frame(type.headers, 0x1, 1, block(get)),
    ...many(count, () => frame(type.continuation, 0, 1, block([['x', 'y'.repeat(bytes)]]))),
  );

/** One stream whose request is answered at once and then used again in a forbidden way. */
const ended = request(1);

export const http2Cases: readonly Http2Case[] = [
  {
    section: '3.4',
    name: 'a preface that is none',
    send: Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'),
    raw: true,
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '3.4',
    name: 'a first frame that is not SETTINGS',
    send: all(preface, ping),
    raw: true,
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '4.1',
    name: 'a frame of an unknown type is ignored',
    send: all(frame(0xfa, 0, 0, 'what'), ping),
    expected: { pong: '12345678' },
  },
  {
    section: '4.1',
    name: 'undefined flags are ignored',
    send: frame(type.ping, 0xfe, 0, '12345678'),
    expected: { pong: '12345678' },
  },
  {
    section: '4.1',
    name: 'the reserved bit of the stream is ignored',
    send: frame(type.ping, 0, 0x80000000, '12345678'),
    expected: { pong: '12345678' },
  },
  {
    section: '4.2',
    name: 'DATA longer than SETTINGS_MAX_FRAME_SIZE',
    send: all(request(1, post, false), frame(type.data, 0, 1, Buffer.alloc(16_385))),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '4.2',
    name: 'HEADERS longer than SETTINGS_MAX_FRAME_SIZE',
    send: frame(type.headers, 0x5, 1, Buffer.alloc(16_385)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '4.3',
    name: 'a header block that cannot be decoded',
    send: frame(type.headers, 0x5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    expected: goaway('COMPRESSION_ERROR'),
  },
  {
    section: '4.3',
    name: 'another stream inside a header block',
    send: all(frame(type.headers, 0x1, 1, block(get)), request(3)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '4.3',
    name: 'PRIORITY inside a header block',
    send: all(frame(type.headers, 0x1, 1, block(get)), frame(type.priority, 0, 1, Buffer.alloc(5))),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '4.3',
    name: 'an unknown frame inside a header block',
    send: all(frame(type.headers, 0x1, 1, block(get)), frame(0xfa, 0, 1)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1',
    name: 'DATA on an idle stream',
    send: frame(type.data, 0x1, 1, 'x'),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1',
    name: 'RST_STREAM on an idle stream',
    send: frame(type.reset, 0, 1, uint32(8)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1',
    name: 'WINDOW_UPDATE on an idle stream',
    send: frame(type.window, 0, 1, uint32(8)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1',
    name: 'CONTINUATION on an idle stream',
    send: frame(type.continuation, 0x4, 1, block(get)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1',
    name: 'DATA on a stream that the client has ended',
    send: all(ended, frame(type.data, 0x1, 1, 'x')),
    expected: { either: ['STREAM_CLOSED'] },
  },
  {
    section: '5.1',
    name: 'HEADERS on a stream that the client has ended',
    send: all(ended, request(1)),
    expected: { either: ['STREAM_CLOSED'] },
  },
  {
    section: '5.1',
    name: 'DATA after RST_STREAM',
    send: all(request(1, post, false), frame(type.reset, 0, 1, uint32(8)), frame(type.data, 0x1, 1, 'x')),
    expected: reset('STREAM_CLOSED'),
  },
  {
    section: '5.1',
    name: 'HEADERS after RST_STREAM',
    send: all(request(1, post, false), frame(type.reset, 0, 1, uint32(8)), request(1)),
    expected: reset('STREAM_CLOSED'),
  },
  { section: '5.1.1', name: 'an even stream', send: request(2), expected: goaway('PROTOCOL_ERROR') },
  {
    section: '5.1.1',
    name: 'a stream below one that was opened',
    send: all(request(5), request(3)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '5.1.2',
    name: 'more streams than announced',
    send: all(...many(129, (i) => request(2 * i + 1, post, false))),
    expected: { reset: ['REFUSED_STREAM'], stream: 257 },
  },
  {
    section: '5.5',
    name: 'an unknown setting is ignored',
    send: all(settings([0xff, 1]), ping),
    expected: { pong: '12345678' },
  },
  {
    section: '6.1',
    name: 'DATA on stream 0',
    send: frame(type.data, 0, 0, 'x'),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.1',
    name: 'padding longer than DATA',
    send: all(request(1, post, false), frame(type.data, 0x9, 1, Buffer.from([5, 1, 1]))),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.1',
    name: 'padded DATA without a length of padding',
    send: all(request(1, post, false), frame(type.data, 0x9, 1)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.1',
    name: 'padded DATA is a body without its padding',
    send: all(
      request(1, [...post, ['content-length', '2']], false),
      frame(type.data, 0x9, 1, Buffer.from([3, 65, 66, 0, 0, 0])),
    ),
    expected: { answered: 1 },
  },
  { section: '6.2', name: 'HEADERS on stream 0', send: request(0), expected: goaway('PROTOCOL_ERROR') },
  {
    section: '6.2',
    name: 'padding longer than HEADERS',
    send: frame(type.headers, 0xd, 1, Buffer.from([9, 0x82])),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.2',
    name: 'padded HEADERS with a priority',
    send: frame(type.headers, 0x2d, 1, all(Buffer.from([2, 0, 0, 0, 0, 7]), block(get), Buffer.alloc(2))),
    expected: { answered: 1 },
  },
  {
    section: '6.2',
    name: 'HEADERS too short for its priority',
    send: frame(type.headers, 0x25, 1, Buffer.from([0, 0])),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.3',
    name: 'PRIORITY on stream 0',
    send: frame(type.priority, 0, 0, Buffer.alloc(5)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.3',
    name: 'PRIORITY of a wrong length',
    send: all(request(1, post, false), frame(type.priority, 0, 1, Buffer.alloc(4))),
    expected: reset('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.3',
    name: 'PRIORITY for an idle stream is ignored',
    send: all(frame(type.priority, 0, 7, Buffer.alloc(5)), ping),
    expected: { pong: '12345678' },
  },
  {
    section: '6.4',
    name: 'RST_STREAM on stream 0',
    send: frame(type.reset, 0, 0, uint32(8)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.4',
    name: 'RST_STREAM of a wrong length',
    send: all(request(1, post, false), frame(type.reset, 0, 1, Buffer.alloc(3))),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.5',
    name: 'an acknowledgement with settings',
    send: frame(type.settings, 0x1, 0, Buffer.alloc(6)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.5',
    name: 'SETTINGS on a stream',
    send: frame(type.settings, 0, 1),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.5',
    name: 'SETTINGS of a wrong length',
    send: frame(type.settings, 0, 0, Buffer.alloc(5)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.5.2',
    name: 'ENABLE_PUSH that is neither 0 nor 1',
    send: settings([2, 2]),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.5.2',
    name: 'an initial window beyond the largest',
    send: settings([4, 0x80000000]),
    expected: goaway('FLOW_CONTROL_ERROR'),
  },
  {
    section: '6.5.2',
    name: 'a frame size below the least',
    send: settings([5, 16_383]),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.5.2',
    name: 'a frame size beyond the largest',
    send: settings([5, 16_777_216]),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: 'RFC 8441 3',
    name: 'ENABLE_CONNECT_PROTOCOL that is neither 0 nor 1',
    send: settings([8, 2]),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.6',
    name: 'PUSH_PROMISE from a client',
    send: all(request(1, post, false), frame(type.push, 0x4, 1, all(uint32(2), block(get)))),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.7',
    name: 'PING is acknowledged with its bytes',
    send: frame(type.ping, 0, 0, 'abcdefgh'),
    expected: { pong: 'abcdefgh' },
  },
  {
    section: '6.7',
    name: 'an acknowledgement of PING is not answered',
    send: all(frame(type.ping, 0x1, 0, 'ABCDEFGH'), ping),
    expected: { pong: '12345678' },
  },
  {
    section: '6.7',
    name: 'PING on a stream',
    send: frame(type.ping, 0, 1, '12345678'),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.7',
    name: 'PING of a wrong length',
    send: frame(type.ping, 0, 0, '1234567'),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.8',
    name: 'GOAWAY on a stream',
    send: frame(type.goaway, 0, 1, Buffer.alloc(8)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.8',
    name: 'GOAWAY too short',
    send: frame(type.goaway, 0, 0, Buffer.alloc(7)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.9',
    name: 'WINDOW_UPDATE by 0 on the connection',
    send: frame(type.window, 0, 0, uint32(0)),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.9',
    name: 'WINDOW_UPDATE by 0 on a stream',
    send: all(request(1, post, false), frame(type.window, 0, 1, uint32(0))),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '6.9',
    name: 'WINDOW_UPDATE of a wrong length',
    send: frame(type.window, 0, 0, Buffer.alloc(3)),
    expected: goaway('FRAME_SIZE_ERROR'),
  },
  {
    section: '6.9.1',
    name: 'a connection window beyond the largest',
    send: all(frame(type.window, 0, 0, uint32(0x7fffffff)), frame(type.window, 0, 0, uint32(0x7fffffff))),
    expected: goaway('FLOW_CONTROL_ERROR'),
  },
  {
    section: '6.9.1',
    name: 'a stream window beyond the largest',
    send: all(request(1, post, false), frame(type.window, 0, 1, uint32(0x7fffffff))),
    expected: reset('FLOW_CONTROL_ERROR'),
  },
  {
    section: '6.9.2',
    name: 'an initial window that makes a stream window too large',
    send: all(
      request(1, post, false),
      frame(type.window, 0, 1, uint32(0x7fffffff - 65_535)),
      settings([4, 65_536]),
    ),
    expected: goaway('FLOW_CONTROL_ERROR'),
  },
  {
    section: '6.10',
    name: 'CONTINUATION in several pieces',
    send: all(
      frame(type.headers, 0x1, 1, block(get.slice(0, 2))),
      frame(type.continuation, 0, 1, block(get.slice(2, 3))),
      frame(type.continuation, 0x4, 1, block(get.slice(3))),
    ),
    expected: { answered: 1 },
  },
  {
    section: '6.10',
    name: 'CONTINUATION of a block that has ended',
    send: all(request(1), frame(type.continuation, 0x4, 1, block(get))),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '6.10',
    name: 'CONTINUATION on stream 0',
    send: all(frame(type.headers, 0x1, 1, block(get)), frame(type.continuation, 0x4, 0, block(get))),
    expected: goaway('PROTOCOL_ERROR'),
  },
  {
    section: '8.1',
    name: 'a second head without END_STREAM',
    send: all(request(1, post, false), frame(type.headers, 0x4, 1, block([['x', 'y']]))),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '8.1',
    name: 'a pseudo-header field in trailers',
    send: all(request(1, post, false), frame(type.headers, 0x5, 1, block([[':method', 'GET']]))),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '8.1',
    name: 'trailers after a body',
    send: all(
      request(1, post, false),
      frame(type.data, 0, 1, 'x'),
      frame(type.headers, 0x5, 1, block([['x-sum', '1']])),
    ),
    expected: { answered: 1 },
  },
  {
    section: '8.1.1',
    name: 'less data than content-length',
    send: all(request(1, [...post, ['content-length', '5']], false), frame(type.data, 0x1, 1, 'abcd')),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '8.1.1',
    name: 'more data than content-length',
    send: all(
      request(1, [...post, ['content-length', '3']], false),
      frame(type.data, 0, 1, 'ab'),
      frame(type.data, 0x1, 1, 'cd'),
    ),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '8.1.1',
    name: 'a content-length and no data',
    send: request(1, [...post, ['content-length', '3']]),
    expected: reset('PROTOCOL_ERROR'),
  },
  {
    section: '8.1.1',
    name: 'trailers before the announced data',
    send: all(
      request(1, [...post, ['content-length', '3']], false),
      frame(type.headers, 0x5, 1, block([['x', 'y']])),
    ),
    expected: reset('PROTOCOL_ERROR'),
  },
  malformed('8.2.1', 'an upper-case name', [...get, ['X-Upper', 'y']]),
  malformed('8.2.1', 'a space in a name', [...get, ['x y', 'z']]),
  malformed('8.2.1', 'a colon in a name', [...get, ['x:y', 'z']]),
  malformed('8.2.1', 'an empty name', [...get, ['', 'z']]),
  malformed('8.2.1', 'a name beyond ASCII', [...get, ['x\xe9', 'z']]),
  malformed('8.2.1', 'CR LF in a value', [...get, ['x', 'a\r\nhost: other']]),
  malformed('8.2.1', 'LF in a value', [...get, ['x', 'a\nb']]),
  malformed('8.2.1', 'NUL in a value', [...get, ['x', 'a\0b']]),
  malformed('8.2.1', 'space in front of a value', [...get, ['x', ' y']]),
  malformed('8.2.1', 'a tab behind a value', [...get, ['x', 'y\t']]),
  malformed('8.2.2', 'connection', [...get, ['connection', 'keep-alive']]),
  malformed('8.2.2', 'keep-alive', [...get, ['keep-alive', '5']]),
  malformed('8.2.2', 'proxy-connection', [...get, ['proxy-connection', 'close']]),
  malformed('8.2.2', 'transfer-encoding', [...post, ['transfer-encoding', 'chunked']]),
  malformed('8.2.2', 'upgrade', [...get, ['upgrade', 'websocket']]),
  malformed('8.2.2', 'te that is not trailers', [...get, ['te', 'gzip']]),
  {
    section: '8.2.2',
    name: 'te: trailers',
    send: request(1, [...get, ['te', 'trailers']]),
    expected: { answered: 1 },
  },
  malformed('8.3', 'an unknown pseudo-header field', [...get, [':version', '2']]),
  malformed('8.3', 'a pseudo-header field of answers', [...get, [':status', '200']]),
  malformed('8.3', 'a pseudo-header field behind others', [...get.slice(0, 3), ['x', 'y'], get[3]!]),
  malformed('8.3', 'a pseudo-header field twice', [...get, [':path', '/again']]),
  malformed('8.3.1', 'no :method', without(':method')),
  malformed('8.3.1', 'no :scheme', without(':scheme')),
  malformed('8.3.1', 'no :path', without(':path')),
  malformed('8.3.1', 'an empty :path', [...without(':path'), [':path', '']]),
  malformed('8.3.1', 'a :path that does not begin with a slash', [...without(':path'), [':path', 'x']]),
  malformed('8.3.1', 'a space in :path', [...without(':path'), [':path', '/a HTTP/1.1']]),
  malformed('8.3.1', 'CR LF in :path', [...without(':path'), [':path', '/a\r\nx: y']]),
  malformed('8.3.1', 'a fragment in :path', [...without(':path'), [':path', '/a#b']]),
  malformed('8.3.1', 'an asterisk that is not for OPTIONS', [...without(':path'), [':path', '*']]),
  malformed('8.3.1', 'a space in :method', [...without(':method'), [':method', 'GET /other']]),
  malformed('8.3.1', 'CR LF in :method', [...without(':method'), [':method', 'GET\r\n']]),
  malformed('8.3.1', 'user information in :authority', [
    ...without(':authority'),
    [':authority', 'me@web.example'],
  ]),
  malformed('8.3.1', 'host that differs from :authority', [...get, ['host', 'other.example']]),
  malformed('8.3.1', 'two host fields', [...get, ['host', 'web.example'], ['host', 'web.example']]),
  {
    section: '8.3.1',
    name: 'host in place of :authority',
    send: request(1, [...without(':authority'), ['host', 'web.example']]),
    expected: { answered: 1 },
  },
  {
    section: '8.5',
    name: 'CONNECT is answered, and not served',
    send: request(1, [
      [':method', 'CONNECT'],
      [':authority', 'web.example:443'],
    ]),
    expected: { answered: 1 },
  },
  malformed('8.5', 'CONNECT with a path', [[':method', 'CONNECT'], ...get.slice(1)]),
  malformed('RFC 8441 4', ':protocol without CONNECT', [...get, [':protocol', 'websocket']]),
  {
    section: '10.5',
    name: 'more resets than a peer in earnest needs (CVE-2023-44487)',
    send: all(
      ...many(400, (i) => all(request(2 * i + 1, post, false), frame(type.reset, 0, 2 * i + 1, uint32(8)))),
    ),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5',
    name: 'resets that we are made to send (CVE-2025-8671)',
    send: all(
      ...many(400, (i) => all(request(2 * i + 1, post, false), frame(type.window, 0, 2 * i + 1, uint32(0)))),
    ),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '6.3',
    name: 'PRIORITY of a wrong length for a stream that has ended',
    send: all(request(1), frame(type.priority, 0, 1, Buffer.alloc(4)), request(3)),
    expected: reset('FRAME_SIZE_ERROR'),
  },
  {
    section: '10.5',
    name: 'PING without end (CVE-2019-9512)',
    send: all(...many(2500, () => ping)),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5',
    name: 'SETTINGS without end (CVE-2019-9515)',
    send: all(...many(2500, () => settings())),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5',
    name: 'empty DATA without end (CVE-2019-9518)',
    send: all(request(1, post, false), ...many(2500, () => frame(type.data, 0, 1))),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5',
    name: 'PRIORITY without end',
    send: all(...many(2500, () => frame(type.priority, 0, 1, Buffer.alloc(5)))),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5',
    name: 'WINDOW_UPDATE without end',
    send: all(...many(2500, () => frame(type.window, 0, 0, uint32(1)))),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5.1',
    name: 'a header block in too many frames (CVE-2024-27316)',
    send: fragments(200, 1),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5.1',
    name: 'a header block that is too large',
    send: fragments(3, 15_000),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5.1',
    name: 'empty CONTINUATION without end',
    send: all(frame(type.headers, 0x1, 1, block(get)), ...many(200, () => frame(type.continuation, 0, 1))),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
  {
    section: '10.5.1',
    name: 'more fields than are taken: 431',
    send: request(1, [...get, ...many(300, (i) => [`x-${i}`, 'y'] as const)]),
    expected: { answered: 1 },
  },
  {
    section: 'RFC 7541 7.3',
    name: 'a small block that unpacks to much (HPACK bomb): 431',
    send: frame(
      type.headers,
      0x5,
      1,
      all(
        block(get),
        Buffer.from([0x40]),
        block([['x-big', 'y'.repeat(3000)]]).subarray(1),
        Buffer.alloc(8000, 0xbe),
      ),
    ),
    expected: { answered: 1 },
  },
  {
    section: 'RFC 7541 4.2',
    name: 'a table that is emptied and opened again without end costs what its bytes cost',
    send: all(
      frame(type.headers, 0x1, 1, Buffer.alloc(15_000, Buffer.from([0x20, 0x3f, 0xe1, 0x1f]))),
      frame(type.continuation, 0x4, 1, block(get)),
    ),
    expected: { answered: 1 },
  },
  {
    section: '10.5',
    name: 'a header table whose size changes without end',
    send: all(...many(1250, () => all(settings([1, 0]), settings([1, 4096])))),
    expected: goaway('ENHANCE_YOUR_CALM'),
  },
];
