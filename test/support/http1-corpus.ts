/** Requests that are strange, broken or meant to smuggle, and seeded mutations of them. */
import { readFileSync } from 'node:fs';

export type CorpusCase = { readonly name: string; readonly bytes: Buffer };

export const corpus: readonly CorpusCase[] = readFileSync(
  new URL('../corpus/http1/requests.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const space = line.indexOf(' ');
    const text = JSON.parse(line.slice(space + 1)) as string;
    return { name: line.slice(0, space), bytes: Buffer.from(text, 'latin1') };
  });

/** Numbers in [0, below), the same for the same seed. */
export type Random = (below: number) => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** What parsers stumble over. */
const tokens: readonly string[] = [
  '\r\n',
  '\n',
  '\r',
  '\r\n\r\n',
  '\0',
  ' ',
  '\t',
  ':',
  ';',
  ',',
  '\x0b',
  '\x85',
  '\xa0',
  '0',
  '0\r\n\r\n',
  '5',
  'f',
  '-',
  '+',
  '0x',
  'Content-Length: 5\r\n',
  'Content-Length: 0\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Host: x\r\n',
  'Connection: close\r\n',
  'GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n',
  ' HTTP/1.1',
  ' HTTP/1.0',
  'chunked',
  'Expect: 100-continue\r\n',
];

/** A case of the corpus with bytes changed, put in, left out, or joined with another's. */
export function mutate(random: Random): CorpusCase {
  const pick = (): CorpusCase => corpus[random(corpus.length)]!;
  const first = pick();
  let { bytes } = first;
  for (let steps = 1 + random(3); steps > 0; steps -= 1) {
    const at = random(bytes.length + 1);
    const rest = bytes.subarray(Math.min(bytes.length, at + random(4)));
    const put = ((): Buffer => {
      switch (random(4)) {
        case 0:
          return Buffer.from(tokens[random(tokens.length)]!, 'latin1');
        case 1:
          return Buffer.from([random(256)]);
        case 2:
          return Buffer.alloc(0);
        default: {
          const other = pick().bytes;
          return other.subarray(random(other.length));
        }
      }
    })();
    bytes = Buffer.concat([bytes.subarray(0, at), put, rest]);
  }
  return { name: `mutation of ${first.name}`, bytes: bytes.subarray(0, 4000) };
}
