import type { Readable } from 'node:stream';

/** The whole of another server's answer. Rejects, and drops the connection, beyond `bytesMax`; `what` names it then. */
export async function readBounded(answer: Readable, bytesMax: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      answer.destroy();
      throw new RangeError(`${what} is larger than ${bytesMax} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
