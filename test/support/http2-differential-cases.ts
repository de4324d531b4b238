import { block, frame, get, post, request, type, uint32 } from './http2-frames.ts';

/** Bytes behind preface and SETTINGS: requests that two readers could understand differently, and frames out of place. */
export type DifferentialCase = { readonly name: string; readonly send: Buffer };

type Fields = readonly (readonly [string, string])[];

const all = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts);
const without = (fields: Fields, name: string): Fields => fields.filter(([field]) => field !== name);
const change = (fields: Fields, name: string, value: string): Fields =>
  fields.map(([field, old]) => [field, field === name ? value : old] as const);

/** A request without a body, with fields that are added. */
const asks = (name: string, ...more: Fields): DifferentialCase => ({
  name,
  send: request(1, [...get, ...more]),
});
/** The same with one of its pseudo-header fields changed. */
const changed = (name: string, field: string, value: string): DifferentialCase => ({
  name,
  send: request(1, change(get, field, value)),
});
const fields = (name: string, list: Fields): DifferentialCase => ({ name, send: request(1, list) });
const posts = (name: string, body: string, ...more: Fields): DifferentialCase => ({
  name,
  send: all(request(1, [...post, ...more], false), frame(type.data, 1, 1, body)),
});
/** A request with a body, then a second header block. */
const trailed = (name: string, flags: number, ...trailers: Fields): DifferentialCase => ({
  name,
  send: all(
    request(1, post, false),
    frame(type.data, 0, 1, 'body'),
    frame(type.headers, flags, 1, block(trailers)),
  ),
});
const raw = (name: string, ...parts: readonly Buffer[]): DifferentialCase => ({ name, send: all(...parts) });

const connectTo = (...more: Fields): Fields => [[':method', 'CONNECT'], ...more];

export const differentialCases: readonly DifferentialCase[] = [
  asks('an ordinary GET', ['x-a', 'b']),
  posts('an ordinary POST', 'body'),
  posts('a body as long as announced', 'body', ['content-length', '4']),
  posts('a body longer than announced', 'body', ['content-length', '3']),
  posts('a body shorter than announced', 'body', ['content-length', '5']),
  posts('content-length twice, alike', 'body', ['content-length', '4'], ['content-length', '4']),
  posts('content-length twice, different', 'body', ['content-length', '4'], ['content-length', '5']),
  posts('content-length as a list', 'body', ['content-length', '4, 4']),
  posts('content-length with a sign', 'body', ['content-length', '+4']),
  posts('content-length in hexadecimal', 'body', ['content-length', '0x4']),
  posts('content-length of nothing', 'body', ['content-length', '']),
  posts('content-length beyond 64 bits', 'body', ['content-length', '18446744073709551620']),
  asks('content-length without a body', ['content-length', '4']),
  asks('content-length 0 without a body', ['content-length', '0']),
  // Pseudo-header fields
  fields('a pseudo-header field behind an ordinary one', [['x-a', 'b'], ...get]),
  fields('pseudo-header fields in another order', get.toReversed()),
  asks(':method twice', [':method', 'GET']),
  fields(':method twice in front', [[':method', 'GET'], ...get]),
  fields(':path twice', [[':path', '/other'], ...get]),
  fields(':scheme twice', [[':scheme', 'https'], ...get]),
  fields(':authority twice', [[':authority', 'other.example'], ...get]),
  fields(':status in a request', [[':status', '200'], ...get]),
  fields('a pseudo-header field that nobody knows', [[':other', 'x'], ...get]),
  fields('no :method', without(get, ':method')),
  fields('no :scheme', without(get, ':scheme')),
  fields('no :path', without(get, ':path')),
  fields('no :authority, and no host', without(get, ':authority')),
  fields('host in place of :authority', [...without(get, ':authority'), ['host', 'web.example']]),
  changed('an empty :method', ':method', ''),
  changed('a space in :method', ':method', 'GET /x'),
  changed('a line end in :method', ':method', 'GET / HTTP/1.1\r\nx: y'),
  changed('a method that nobody knows', ':method', 'BREW'),
  changed('a method in small letters', ':method', 'get'),
  changed('an empty :scheme', ':scheme', ''),
  changed(':scheme ftp', ':scheme', 'ftp'),
  changed('a :scheme with a path', ':scheme', 'http://other.example/?'),
  changed('an empty :path', ':path', ''),
  changed('a :path without a slash', ':path', 'path'),
  changed('a :path with a scheme and a host', ':path', 'http://other.example/'),
  changed('a :path that begins with two slashes', ':path', '//other.example/'),
  changed('a space in :path', ':path', '/a b'),
  changed('a line end in :path', ':path', '/ HTTP/1.1\r\nx: y'),
  changed('a tab in :path', ':path', '/a\tb'),
  changed('a NUL in :path', ':path', '/a\0b'),
  changed('a fragment in :path', ':path', '/a#b'),
  changed('bytes beyond ASCII in :path', ':path', '/\xe4'),
  changed('dots in :path', ':path', '/a/../b'),
  changed('* for GET', ':path', '*'),
  fields('* for OPTIONS', change(change(get, ':method', 'OPTIONS'), ':path', '*')),
  // Authority
  asks('host as :authority', ['host', 'web.example']),
  asks('host as :authority in other letters', ['host', 'WEB.example']),
  asks('host that differs from :authority', ['host', 'other.example']),
  asks('host twice', ['host', 'web.example'], ['host', 'web.example']),
  changed('an empty :authority', ':authority', ''),
  changed('user information in :authority', ':authority', 'user@web.example'),
  changed('a path in :authority', ':authority', 'web.example/x'),
  changed('a space in :authority', ':authority', 'web.example x'),
  changed('a line end in :authority', ':authority', 'web.example\r\nx: y'),
  changed('a port in :authority', ':authority', 'web.example:80'),
  changed('a port that is no number in :authority', ':authority', 'web.example:x'),
  // CONNECT
  fields('CONNECT', connectTo([':authority', 'web.example:80'])),
  fields('CONNECT with a path', connectTo(...get.slice(1))),
  fields('CONNECT without an authority', connectTo()),
  fields('CONNECT for a protocol that nobody knows', connectTo([':protocol', 'other'], ...get.slice(1))),
  asks(':protocol without CONNECT', [':protocol', 'websocket']),
  // Names and values
  asks('a capital letter in a name', ['X-A', 'b']),
  asks('an empty name', ['', 'b']),
  asks('a space in a name', ['x a', 'b']),
  asks('a colon in a name', ['x:a', 'b']),
  asks('a line end in a name', ['x\r\nhost: other', 'b']),
  asks('a NUL in a name', ['x\0', 'b']),
  asks('a CR in a value', ['x-a', 'b\rc']),
  asks('a line end in a value', ['x-a', 'b\r\nx-c: d']),
  asks('an LF in a value', ['x-a', 'b\nx-c: d']),
  asks('a NUL in a value', ['x-a', 'b\0c']),
  asks('a tab in a value', ['x-a', 'b\tc']),
  asks('bytes beyond ASCII in a value', ['x-a', '\xe4']),
  asks('DEL in a value', ['x-a', 'b\x7fc']),
  asks('a control byte in a value', ['x-a', 'b\x01c']),
  asks('a space in front of a value', ['x-a', ' b']),
  asks('a space behind a value', ['x-a', 'b ']),
  asks('an empty value', ['x-a', '']),
  asks('a name with an underscore', ['x_a', 'b']),
  // What is for one connection
  asks('connection', ['connection', 'close']),
  asks('connection that names a field', ['connection', 'x-a'], ['x-a', 'b']),
  asks('keep-alive', ['keep-alive', 'timeout=5']),
  asks('proxy-connection', ['proxy-connection', 'close']),
  asks('upgrade', ['upgrade', 'websocket']),
  asks('transfer-encoding', ['transfer-encoding', 'chunked']),
  posts('transfer-encoding and a body of chunks', '0\r\n\r\n', ['transfer-encoding', 'chunked']),
  posts(
    'transfer-encoding and content-length',
    'body',
    ['transfer-encoding', 'chunked'],
    ['content-length', '4'],
  ),
  asks('te: trailers', ['te', 'trailers']),
  asks('te: gzip', ['te', 'gzip']),
  asks('te: trailers and more', ['te', 'trailers, deflate;q=0.5']),
  asks('cookies in crumbs', ['cookie', 'a=b'], ['cookie', 'c=d']),
  posts('expect', 'body', ['expect', '100-continue']),
  // Trailers
  trailed('trailers', 5, ['x-end', 'yes']),
  trailed('trailers that do not end the stream', 4, ['x-end', 'yes']),
  trailed('a pseudo-header field in trailers', 5, [':path', '/other']),
  trailed('content-length in trailers', 5, ['content-length', '9']),
  trailed('transfer-encoding in trailers', 5, ['transfer-encoding', 'chunked']),
  trailed('host in trailers', 5, ['host', 'other.example']),
  trailed('a line end in trailers', 5, ['x-end', 'a\r\nx-b: c']),
  trailed('a capital letter in trailers', 5, ['X-End', 'yes']),
  // Much
  asks('a hundred fields', ...Array.from({ length: 90 }, (_, index) => [`x-${index}`, 'b'] as const)),
  asks('a thousand fields', ...Array.from({ length: 1000 }, (_, index) => [`x-${index}`, 'b'] as const)),
  asks('a value of 14 KB', ['x-a', 'b'.repeat(14_000)]),
  changed('a path of 14 KB', ':path', `/${'b'.repeat(14_000)}`),
  // Frames
  raw('a request on an even stream', request(2)),
  raw('a stream below one before', request(3), request(1)),
  raw('DATA for a stream that was never opened', frame(type.data, 0, 1, 'x')),
  raw('DATA behind the end', request(1), frame(type.data, 0, 1, 'x')),
  raw('a second head behind the end', request(1), request(1)),
  raw('CONTINUATION of nothing', frame(type.continuation, 4, 1, block(get))),
  raw(
    'a head in two frames',
    frame(type.headers, 1, 1, block(get).subarray(0, 20)),
    frame(type.continuation, 4, 1, block(get).subarray(20)),
  ),
  raw(
    'a head that is interrupted',
    frame(type.headers, 1, 1, block(get)),
    frame(type.ping, 0, 0, '12345678'),
  ),
  raw('RST_STREAM for a stream that was never opened', frame(type.reset, 0, 1, uint32(8))),
  raw('WINDOW_UPDATE by nothing', request(1, post, false), frame(type.window, 0, 1, uint32(0))),
  raw(
    'PUSH_PROMISE by a client',
    request(1, post, false),
    frame(type.push, 4, 1, all(uint32(2), block(get))),
  ),
  raw('an index beyond the tables', frame(type.headers, 5, 1, Buffer.from([0xff, 0x00]))),
  raw(
    'a table larger than allowed',
    frame(type.headers, 5, 1, all(Buffer.from([0x3f, 0xe1, 0x7f]), block(get))),
  ),
  raw('an unknown frame, then a request', frame(99, 0, 0, 'unknown'), request(1)),
  raw('padding longer than its frame', request(1, post, false), frame(type.data, 8, 1, '\x09x')),
];

/** `ours`: our answer, where it is neither of the others'. `passes`: our backend sees a request that theirs do not. */
export type Difference = { readonly ours: string; readonly passes?: boolean; readonly why: string };

const malformed = 'stream error PROTOCOL_ERROR';
const trailersWhy =
  'RFC 9113 §8.1.1: a malformed request is an error of its stream. nginx takes no trailers at all, HAProxy calls it an internal error.';
const valueWhy =
  'RFC 9113 §8.2.1, §10.3: refused before it reaches a backend, which for the others is who refuses it.';
const spaceWhy =
  'RFC 9113 §8.2.1: no value begins or ends with a space. The others cut it off, so that what was signed is changed.';

/** All that may differ from both others. What is listed and does not differ is an error, too. */
export const differences: ReadonlyMap<string, Difference> = new Map([
  [
    'content-length without a body',
    { ours: malformed, why: 'RFC 9113 §8.1.1: its length is not that of its DATA.' },
  ],
  [
    'a space in :method',
    { ours: malformed, why: 'RFC 9113 §8.3.1: malformed, where the others parse on and answer 400.' },
  ],
  [
    'a method in small letters',
    {
      ours: 'answered 502',
      why: 'Methods are any token (RFC 9110 §9.1); it is this backend that knows none such.',
    },
  ],
  ['an empty :scheme', { ours: malformed, why: 'RFC 9113 §8.3.1: malformed.' }],
  ['a :scheme with a path', { ours: malformed, why: 'RFC 9113 §8.3.1: malformed.' }],
  [
    ':scheme ftp',
    { ours: malformed, why: 'What is asked for is not HTTP, and no backend of HTTP/1.1 would learn of it.' },
  ],
  ['* for GET', { ours: malformed, why: 'RFC 9113 §8.3.1: only OPTIONS has it.' }],
  [
    'host that differs from :authority',
    { ours: malformed, why: 'RFC 9113 §8.3.1: it must not be routed by the one and served by the other.' },
  ],
  ['host twice', { ours: malformed, why: 'RFC 9110 §7.2: which of them counts would be a guess.' }],
  ['user information in :authority', { ours: malformed, why: 'RFC 9113 §8.3.1 forbids it.' }],
  [
    'a port that is no number in :authority',
    { ours: 'answered 400', why: 'RFC 9110 §7.2: no host; readers cut it at different places.' },
  ],
  ['CONNECT', { ours: 'answered 405', why: 'RFC 9110 §15.5.6: the method is known and not served.' }],
  [
    'CONNECT for a protocol that nobody knows',
    { ours: 'answered 501', why: 'RFC 8441 §4, RFC 9220 §3: not implemented.' },
  ],
  [':protocol without CONNECT', { ours: malformed, why: 'RFC 8441 §4: it has no meaning there.' }],
  [
    'an empty name',
    { ours: malformed, why: 'RFC 9113 §8.2.1: the compression is intact, so only the stream is broken.' },
  ],
  ['DEL in a value', { ours: malformed, why: valueWhy }],
  ['a control byte in a value', { ours: malformed, why: valueWhy }],
  ['a space in front of a value', { ours: malformed, why: spaceWhy }],
  ['a space behind a value', { ours: malformed, why: spaceWhy }],
  ['trailers that do not end the stream', { ours: malformed, why: trailersWhy }],
  ['a pseudo-header field in trailers', { ours: malformed, why: trailersWhy }],
  ['content-length in trailers', { ours: malformed, why: trailersWhy }],
  ['transfer-encoding in trailers', { ours: malformed, why: trailersWhy }],
  ['host in trailers', { ours: malformed, why: trailersWhy }],
  ['a line end in trailers', { ours: malformed, why: trailersWhy }],
  ['a capital letter in trailers', { ours: malformed, why: trailersWhy }],
  [
    'a thousand fields',
    { ours: 'answered 431', why: 'RFC 6585 §5: the client learns what was wrong, and keeps its connection.' },
  ],
  [
    'a stream below one before',
    {
      ours: 'connection error PROTOCOL_ERROR',
      passes: true,
      why: 'The first request was whole before the rule was broken.',
    },
  ],
  [
    'DATA behind the end',
    {
      ours: 'stream error STREAM_CLOSED',
      passes: true,
      why: 'The request was whole before the rule was broken.',
    },
  ],
  [
    'a second head behind the end',
    {
      ours: 'stream error STREAM_CLOSED',
      passes: true,
      why: 'RFC 9113 §5.1: an error of the stream; the request was whole before.',
    },
  ],
] satisfies readonly (readonly [string, Difference])[]);
