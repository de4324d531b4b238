/** What the dynamic loader needs to know of one ELF file. */
export type ElfDynamic = {
  /** Path of the program interpreter; undefined for a library or a static program. */
  readonly interpreter: string | undefined;
  /** Sonames in the file's own order. */
  readonly needed: readonly string[];
};

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const PROGRAM_HEADER_BYTES = 56;
const DYNAMIC_ENTRY_BYTES = 16;

type Segment = {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly size: number;
};

/**
 * Reads the dynamic section of a 64-bit little-endian ELF file (amd64 and arm64 are).
 * Returns undefined for anything else; throws RangeError on an ELF file that is cut short.
 * Layout: System V ABI, chapters 4 and 5.
 */
export function readElf(file: Buffer): ElfDynamic | undefined {
  const isElf64 = file.length >= 64 && file.readUInt32BE(0) === 0x7f454c46 && file[4] === 2 && file[5] === 1;
  if (!isElf64) return undefined;
  const segments = readSegments(file);
  const interpreterSegment = segments.find((segment) => segment.type === PT_INTERP);
  const dynamic = segments.find((segment) => segment.type === PT_DYNAMIC);
  return {
    interpreter: interpreterSegment && textAt(file, interpreterSegment.offset),
    needed: dynamic === undefined ? [] : readNeeded(file, dynamic, segments),
  };
}

function readSegments(file: Buffer): readonly Segment[] {
  const start = Number(file.readBigUInt64LE(32));
  const count = file.readUInt16LE(56);
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * PROGRAM_HEADER_BYTES;
    return {
      type: file.readUInt32LE(at),
      offset: Number(file.readBigUInt64LE(at + 8)),
      address: file.readBigUInt64LE(at + 16),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
}

function readNeeded(file: Buffer, dynamic: Segment, segments: readonly Segment[]): readonly string[] {
  const nameOffsets: number[] = [];
  let strings: bigint | undefined;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += DYNAMIC_ENTRY_BYTES) {
    const tag = file.readBigUInt64LE(at);
    const value = file.readBigUInt64LE(at + 8);
    if (tag === 0n) break;
    if (tag === DT_NEEDED) nameOffsets.push(Number(value));
    if (tag === DT_STRTAB) strings = value;
  }
  if (strings === undefined) return [];
  // The string table is named by its address in memory; the segment that loads it tells where that is in the file.
  const table = strings;
  const home = segments.find(
    ({ type, address, size }) => type === PT_LOAD && table >= address && table < address + BigInt(size),
  );
  if (home === undefined) throw new RangeError('ELF string table lies in no loaded segment');
  const base = home.offset + Number(table - home.address);
  return nameOffsets.map((offset) => textAt(file, base + offset));
}

function textAt(file: Buffer, offset: number): string {
  const end = file.indexOf(0, offset);
  if (end === -1) throw new RangeError(`ELF text at ${offset} has no end`);
  return file.toString('latin1', offset, end);
}
