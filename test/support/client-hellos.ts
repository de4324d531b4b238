/** First messages of TLS clients, good, strange and broken, whole ones to begin from, and seeded mutations of them. */
import { readFileSync } from 'node:fs';
import type { Random } from './http1-corpus.ts';

export type HelloCase = {
  readonly name: string;
  /** What our reader makes of it: the server name, '-' for none, 'more' or 'failure'. */
  readonly expected: string;
  /** OpenSSL reads a name in it though we refuse it. */
  readonly stricter: boolean;
  readonly bytes: Buffer;
};

export const helloCorpus: readonly HelloCase[] = readFileSync(
  new URL('../corpus/tls/hellos.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [expected = '', name = '', hex = ''] = line.split('\t');
    const stricter = expected === 'stricter';
    return { name, expected: stricter ? 'failure' : expected, stricter, bytes: Buffer.from(hex, 'hex') };
  });

export type HelloParts = {
  readonly version?: number;
  readonly sessionId?: Buffer;
  readonly ciphers?: Buffer;
  readonly compressions?: Buffer;
  /** undefined: the message ends before them. */
  readonly extensions?: readonly (readonly [type: number, content: Buffer])[] | undefined;
};

/** With its length in so many bytes in front. */
export function vector(sizeOfLength: number, content: Buffer): Buffer {
  const length = Buffer.alloc(sizeOfLength);
  length.writeUIntBE(content.length, 0, sizeOfLength);
  return Buffer.concat([length, content]);
}

export function serverNameOf(name: string, type = 0): readonly [number, Buffer] {
  return [0, vector(2, Buffer.concat([Buffer.from([type]), vector(2, Buffer.from(name, 'latin1'))]))];
}

export function protocolsOf(...names: readonly string[]): readonly [number, Buffer] {
  return [16, vector(2, Buffer.concat(names.map((name) => vector(1, Buffer.from(name, 'latin1')))))];
}

/** TLS 1.2 only needs no more than these from a client. */
const usual: readonly (readonly [number, Buffer])[] = [
  [10, vector(2, Buffer.from('001d00170018', 'hex'))],
  [11, vector(1, Buffer.from([0]))],
  [13, vector(2, Buffer.from('040308040401050308050501', 'hex'))],
];

/** A message with its header. */
export function helloOf(parts: HelloParts): Buffer {
  const version = Buffer.alloc(2);
  version.writeUInt16BE(parts.version ?? 0x0303);
  const extensions =
    'extensions' in parts && parts.extensions === undefined
      ? Buffer.alloc(0)
      : vector(
          2,
          Buffer.concat(
            [...(parts.extensions ?? []), ...usual].map(([type, content]) =>
              Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, content)]),
            ),
          ),
        );
  const body = Buffer.concat([
    version,
    Buffer.alloc(32, 7),
    vector(1, parts.sessionId ?? Buffer.alloc(0)),
    vector(2, parts.ciphers ?? Buffer.from('c02bc02fc02cc030', 'hex')),
    vector(1, parts.compressions ?? Buffer.from([0])),
    extensions,
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** In records of at most `size` bytes. */
export function recordsOf(message: Buffer, size = 16_384, type = 22, version = 0x0301): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const head = Buffer.from([type, version >> 8, version & 255]);
    records.push(head, vector(2, message.subarray(at, at + size)));
  }
  return Buffer.concat(records);
}

/** One case with some bytes changed, taken out, doubled or put in. */
export function mutateHello(random: Random): HelloCase {
  const chosen = helloCorpus[random(helloCorpus.length)]!;
  let { bytes } = chosen;
  for (let turns = 1 + random(3); turns > 0; turns -= 1) bytes = changed(bytes, random);
  return { ...chosen, bytes };
}

function changed(bytes: Buffer, random: Random): Buffer {
  const at = random(bytes.length + 1);
  const to = Math.min(bytes.length, at + 1 + random(8));
  const part = bytes.subarray(at, to);
  switch (random(5)) {
    case 0:
      return Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(part.map(() => random(256))),
        bytes.subarray(to),
      ]);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, to), part, bytes.subarray(to)]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([random(256)]), bytes.subarray(at)]);
    default: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at] = (flipped[at]! + (random(2) === 0 ? 1 : 255)) & 255; // lengths off by one
      return flipped;
    }
  }
}
