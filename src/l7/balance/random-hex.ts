import { randomFillSync } from 'node:crypto';

/** Hexadecimal digits of so many unpredictable bytes, drawn from the system's source a few kilobytes at a time. At most 64 bytes. */
export function randomHexSource(): (bytes: number) => string {
  const pool = Buffer.alloc(4096);
  let at = pool.length;
  return (bytes) => {
    if (at + bytes > pool.length) {
      randomFillSync(pool);
      at = 0;
    }
    at += bytes;
    return pool.toString('hex', at - bytes, at);
  };
}
