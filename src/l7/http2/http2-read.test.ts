import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { block, frame, get, preface, settings, type, uint32 } from '../../../test/support/http2-frames.ts';
import { type FrameHandler, FrameReader } from './http2-read.ts';

/** Notes what the reader says; bytes of a body also as one text a stream. */
class Notes implements FrameHandler {
  readonly told: string[] = [];
  readonly bodies = new Map<number, string>();

  onData(streamId: number, payloadBytes: number): void {
    this.told.push(`data ${streamId} ${payloadBytes}`);
  }
  onDataBytes(streamId: number, data: Buffer, start: number, end: number): void {
    const text = data.toString('latin1', start, end);
    this.told.push(`bytes ${streamId} ${text}`);
    this.bodies.set(streamId, (this.bodies.get(streamId) ?? '') + text);
  }
  onDataEnd(streamId: number, paddingBytes: number, ended: boolean): void {
    this.told.push(`end ${streamId} ${paddingBytes} ${ended}`);
  }
  onHeaderBlock(streamId: number, data: Buffer, start: number, end: number): void {
    this.told.push(`head ${streamId} ${data.toString('hex', start, end)}`);
  }
  onRstStream(streamId: number, code: number): void {
    this.told.push(`reset ${streamId} ${code}`);
  }
  onSettings(): void {
    this.told.push('settings');
  }
  onPing(data: Buffer, start: number): void {
    this.told.push(`ping ${data.toString('latin1', start, start + 8)}`);
  }
  onGoaway(): void {
    this.told.push('goaway');
  }
  onWindowUpdate(streamId: number, increment: number): void {
    this.told.push(`window ${streamId} ${increment}`);
  }
  onIgnored(): void {
    this.told.push('ignored');
  }
  onStreamFault(): void {
    this.told.push('stream fault');
  }
  onFault(code: number): void {
    this.told.push(`fault ${code}`);
  }
}

function read(bytes: Buffer, pieces = bytes.length): { notes: Notes; reader: FrameReader } {
  const notes = new Notes();
  const reader = new FrameReader(notes, { preface: true, blockBytesMax: 1000, continuationsMax: 3 });
  for (let at = 0; at < bytes.length; at += pieces) {
    const piece = Buffer.from(bytes.subarray(at, at + pieces));
    reader.read(piece);
    piece.fill(0xee); // the transport uses its buffer again
  }
  return { notes, reader };
}

const begin = Buffer.concat([preface, settings()]);
const data = (stream: number, text: string, flags = 0): Buffer => frame(type.data, flags, stream, text);
const padded = (stream: number, text: string, padding: number): Buffer =>
  frame(
    type.data,
    8,
    stream,
    Buffer.concat([Buffer.from([padding]), Buffer.from(text), Buffer.alloc(padding)]),
  );

test('http2 read: payloads of a stream that come together are passed on as one, before whatever else is said', () => {
  const bytes = Buffer.concat([
    begin,
    data(1, 'one '),
    padded(1, 'two ', 3),
    data(1, ''),
    data(1, 'three'),
    data(3, 'other'),
    data(1, 'a'),
    frame(type.ping, 0, 0, '12345678'),
    data(1, 'b'),
    data(1, 'c', 1),
  ]);
  const { notes } = read(bytes);
  assert.deepEqual(
    notes.told.filter((line) => !line.startsWith('data')),
    [
      'settings',
      'end 1 0 false',
      'end 1 4 false',
      'end 1 0 false',
      'end 1 0 false',
      'bytes 1 one two three',
      'end 3 0 false',
      'bytes 3 other',
      'end 1 0 false',
      'bytes 1 a',
      'ping 12345678',
      'end 1 0 false',
      'bytes 1 bc',
      'end 1 0 true',
    ],
  );
});

test('http2 read: the short end of a frame is moved to the long beginning of the next', () => {
  const long = 'l'.repeat(5000);
  const padded = frame(type.data, 8, 1, Buffer.concat([Buffer.of(3), Buffer.from('short'), Buffer.alloc(3)]));
  const { notes } = read(Buffer.concat([preface, settings(), padded, frame(type.data, 0, 1, long)]));
  assert.deepEqual(notes.told.slice(1), [
    'data 1 9',
    'end 1 4 false',
    'data 1 5000',
    'end 1 0 false',
    `bytes 1 short${long}`,
  ]);
});

test('http2 read: large payloads are not moved', () => {
  const large = 'x'.repeat(5000);
  const { notes } = read(Buffer.concat([begin, data(1, large), data(1, large), data(1, 'end')]));
  const bytes = notes.told.filter((line) => line.startsWith('bytes'));
  assert.deepEqual(
    bytes.map(({ length }) => length),
    ['bytes 1 '.length + 5000, 'bytes 1 '.length + 5003],
  );
});

test('http2 read: in whatever pieces frames come, the same is said of each, and bodies are whole', () => {
  const any = fc.oneof(
    fc
      .tuple(fc.constantFrom(1, 3), fc.string({ maxLength: 30, unit: 'binary-ascii' }), fc.constantFrom(0, 1))
      .map(([stream, text, flags]) => data(stream, text, flags)),
    fc
      .tuple(fc.constantFrom(1, 3), fc.string({ maxLength: 30, unit: 'binary-ascii' }), fc.nat(20))
      .map(([stream, text, padding]) => padded(stream, text, padding)),
    fc.constantFrom(
      data(1, 'long '.repeat(1000)),
      padded(1, 'other'.repeat(1000), 20),
      frame(type.ping, 0, 0, '12345678'),
      frame(type.headers, 4, 5, block(get)),
      Buffer.concat([frame(type.headers, 0, 5, block(get)), frame(type.continuation, 4, 5, 'rest')]),
      frame(type.window, 0, 1, uint32(9)),
      frame(99, 0, 0, 'unknown'),
    ),
  );
  fc.assert(
    fc.property(
      fc.array(any, { maxLength: 20 }),
      fc.oneof(
        fc.integer({ min: 1, max: 60 }),
        fc.nat(9000).map((bytes) => bytes + 1),
      ),
      (frames, pieces) => {
        const bytes = Buffer.concat([begin, ...frames]);
        const whole = read(bytes);
        const cut = read(bytes, pieces);
        const besides = (lines: readonly string[]): readonly string[] =>
          lines.filter((line) => !line.startsWith('bytes'));
        assert.deepEqual(besides(cut.notes.told), besides(whole.notes.told));
        assert.deepEqual(cut.notes.bodies, whole.notes.bodies);
        assert.equal(cut.reader.frames, whole.reader.frames);
        assert.equal(cut.reader.unfinished, false);
      },
    ),
    { numRuns: 300 },
  );
});

test('http2 read: a frame that has begun is owed, and nothing is read after a fault', () => {
  const { notes, reader } = read(Buffer.concat([begin, frame(type.ping, 0, 0, '12345678').subarray(0, 12)]));
  assert.equal(reader.unfinished, true);
  reader.read(Buffer.from('45678'));
  assert.equal(reader.unfinished, false);
  assert.equal(notes.told.at(-1), 'ping 12345678');
  reader.read(Buffer.concat([frame(type.ping, 0, 7, '12345678'), data(1, 'late')]));
  reader.read(data(1, 'later'));
  assert.equal(notes.told.at(-1), 'fault 1');
  assert.equal(reader.stopped, true);
});
