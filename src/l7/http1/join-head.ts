import type { Connection } from '../transport/transport.ts';

/**
 * Writes a head (Latin-1) with the bytes data[start, end) behind it, so that both leave in one system call. False: as `write`.
 * Joining them makes a buffer, at most as long as one read; a target that copies anyway is spared that.
 */
export function writeWithHead(
  target: Pick<Connection, 'write' | 'copies'>,
  head: string,
  data: Buffer,
  start: number,
  end: number,
): boolean {
  if (end === start) return target.write(head);
  if (target.copies === true) {
    target.write(head);
    return target.write(start === 0 && end === data.length ? data : data.subarray(start, end));
  }
  const joined = Buffer.allocUnsafe(head.length + end - start);
  joined.write(head, 0, 'latin1');
  data.copy(joined, head.length, start, end);
  return target.write(joined);
}
