/** Bytes of a slab: what one send can carry. */
export const slabBytes = 65_536;
/** With more than this waiting, a connection tells its writer to stop; at half of it, to go on. */
export const highWaterBytes = 2 * slabBytes;
const slabsPerBlock = 64;
/** Slabs in all: 1 GiB. A connection that needs one more is cut (ENOBUFS). */
export const slabsMax = 16_384;

/** A piece of memory at an address that never changes. */
export type Slab = {
  readonly memory: Buffer;
  readonly address: number;
};

/**
 * Memory that bytes wait in until the kernel has sent them. It grows by blocks and is kept: memory that no byte was
 * written to costs nothing. The slab given back last is taken first, so it is still in the processor's cache.
 */
export class SendMemory {
  readonly #addressOf: (memory: Buffer) => bigint;
  readonly #free: Slab[] = [];
  #made = 0;

  constructor(addressOf: (memory: Buffer) => bigint) {
    this.#addressOf = addressOf;
  }

  /** undefined at the bound. */
  take(): Slab | undefined {
    const slab = this.#free.pop();
    if (slab !== undefined) return slab;
    if (this.#made >= slabsMax) return undefined;
    const block = Buffer.allocUnsafeSlow(slabsPerBlock * slabBytes);
    const base = Number(this.#addressOf(block));
    for (let index = slabsPerBlock - 1; index >= 0; index -= 1) {
      const from = index * slabBytes;
      this.#free.push({ memory: block.subarray(from, from + slabBytes), address: base + from });
    }
    this.#made += slabsPerBlock;
    return this.#free.pop();
  }

  give(slab: Slab): void {
    this.#free.push(slab);
  }
}
