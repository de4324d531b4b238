/** Memory that output is gathered in. What is given back is taken first, so it is still in the processor's cache. */

/** Most turns fit into one block. */
export const blockBytes = 16_384;
/** For bodies: several frames of the largest size share one. */
export const bodyBlockBytes = 131_072;
/** Blocks of each size that wait to be taken; more are left to the garbage collector. */
const freeMax = 32;

const free: Buffer[] = [];
const freeBody: Buffer[] = [];

/** A block of at least `bytes`, with any content. */
export function takeBlock(bytes: number): Buffer {
  if (bytes <= blockBytes) return free.pop() ?? Buffer.allocUnsafeSlow(blockBytes);
  if (bytes <= bodyBlockBytes) return freeBody.pop() ?? Buffer.allocUnsafeSlow(bodyBlockBytes);
  return Buffer.allocUnsafeSlow(bytes);
}

/** `block` must not be used any more, nor any part of it. One of another size than ours is dropped. */
export function giveBlock(block: Buffer): void {
  if (block.length === blockBytes && free.length < freeMax) free.push(block);
  else if (block.length === bodyBlockBytes && freeBody.length < freeMax) freeBody.push(block);
}
