/** Memory that transports read into again and again. */
const lent = new Set<ArrayBufferLike>();

/** What lies in this memory is lent from now on to whom it is given, only until the call returns. */
export function lend(memory: Buffer): void {
  lent.add(memory.buffer);
}

/** Whoever keeps it longer must copy it. */
export function isLent(data: Buffer): boolean {
  return lent.has(data.buffer);
}
