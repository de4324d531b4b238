/** A line of a watch stream was longer than the bound. */
export class LineTooLong extends Error {
  override readonly name = 'LineTooLong';
}

/**
 * Cuts a byte stream into lines without their newline; a last line without one is given too, empty lines are not.
 * Bytes are joined only for a line that spans chunks, so a long line costs one copy.
 * @param lineBytesMax a longer line throws LineTooLong
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  lineBytesMax: number,
): AsyncGenerator<string> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const part = chunk.subarray(start, end);
      start = end + 1;
      if (pendingBytes + part.length > lineBytesMax) throw new LineTooLong(tooLong(lineBytesMax));
      const line = pendingBytes === 0 ? textOf(part) : textOf(Buffer.concat([...pending, part]));
      pending = [];
      pendingBytes = 0;
      if (line !== '') yield line;
    }
    if (start === chunk.length) continue;
    pending.push(chunk.subarray(start));
    pendingBytes += chunk.length - start;
    if (pendingBytes > lineBytesMax) throw new LineTooLong(tooLong(lineBytesMax));
  }
  if (pendingBytes > 0) yield textOf(Buffer.concat(pending));
}

function tooLong(lineBytesMax: number): string {
  return `a line of the stream is longer than ${lineBytesMax} bytes`;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}
