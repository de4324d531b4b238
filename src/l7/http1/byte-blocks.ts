/**
 * Memory that bytes gather in. Memory outside of the heap is dear to make and to collect, so what is given back serves again, last in
 * first out: it is still in the processor's cache.
 */

/** Blocks have 1, 2, 4 … KiB, up to 128 KiB, which holds several frames of HTTP/2 of the largest size. */
const smallestBits = 10;
const largestBits = 17;
/** Blocks of one size that wait to be taken; more are left to the garbage collector. */
const waitingBytesMax = 1 << 20;

const waiting: Buffer[][] = Array.from({ length: largestBits - smallestBits + 1 }, () => []);

/** A block of at least `bytes`, with any content. */
export function takeBlock(bytes: number): Buffer {
  const bits = bitsOf(bytes);
  if (bits > largestBits) return Buffer.allocUnsafeSlow(bytes);
  return waiting[bits - smallestBits]!.pop() ?? Buffer.allocUnsafeSlow(1 << bits);
}

/** `block` must not be used any more, nor any part of it. One of another size than ours is dropped. */
export function giveBlock(block: Buffer): void {
  const { length } = block;
  const bits = bitsOf(length);
  if (bits > largestBits || 1 << bits !== length) return;
  const blocks = waiting[bits - smallestBits]!;
  if (blocks.length << bits < waitingBytesMax) blocks.push(block);
}

/** The least power of two that holds `bytes`, at least the smallest block's. */
function bitsOf(bytes: number): number {
  return Math.max(smallestBits, 32 - Math.clz32(Math.max(bytes - 1, 0)));
}
