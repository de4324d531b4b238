/**
 * A head (Latin-1) with the body bytes data[start, end) behind it, so that both leave in one system call.
 * At most one read's bytes are copied.
 */
export function joinHead(head: string, data: Buffer, start: number, end: number): Buffer | string {
  if (end === start) return head;
  const joined = Buffer.allocUnsafe(head.length + end - start);
  joined.write(head, 0, 'latin1');
  data.copy(joined, head.length, start, end);
  return joined;
}
