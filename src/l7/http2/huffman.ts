/** The Huffman code of HPACK (RFC 7541 §5.2, Appendix B). */

/**
 * Bits of each byte's code, and last of EOS. The code is canonical: codes of one length go up with the byte, and a
 * longer one begins where the shorter ones have ended, so lengths are all that has to be written down.
 */
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const EOS = 256;
const codeBitsMax = 30;
/** Codes of up to so many bits, which is nearly all text, are decoded by one look into a table. */
const peekBits = 10;

const codes = new Uint32Array(257);
const lengths = Uint8Array.from(codeLengths);
/** By length: the first code, the code behind the last one, and where its symbols begin in `symbols`. */
const firstCodes = new Float64Array(codeBitsMax + 1);
const endCodes = new Float64Array(codeBitsMax + 1);
const firstSymbols = new Uint16Array(codeBitsMax + 1);
const symbols = new Uint16Array(257);
/** By the next `peekBits` bits: symbol << 4 | length, or 0 if the code is longer. */
const shortCodes = new Uint16Array(1 << peekBits);

function buildTables(): void {
  let code = 0;
  let count = 0;
  for (let bits = 1; bits <= codeBitsMax; bits += 1) {
    code *= 2;
    firstCodes[bits] = code;
    firstSymbols[bits] = count;
    for (let symbol = 0; symbol <= EOS; symbol += 1) {
      if (lengths[symbol] !== bits) continue;
      codes[symbol] = code;
      symbols[count] = symbol;
      if (bits <= peekBits) {
        const from = code << (peekBits - bits);
        shortCodes.fill((symbol << 4) | bits, from, from + (1 << (peekBits - bits)));
      }
      code += 1;
      count += 1;
    }
    endCodes[bits] = code;
  }
}
buildTables();

/** Bytes that the Latin-1 text takes when encoded. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i += 1) bits += lengths[text.charCodeAt(i) & 0xff]!;
  return (bits + 7) >>> 3;
}

/** Encodes Latin-1 text; `out` must have `huffmanLength` bytes of room. Returns the index behind the last one. */
export function huffmanEncode(text: string, out: Uint8Array, start: number): number {
  let at = start;
  let held = 0; // at most 7 bits that no whole byte has taken yet
  let bits = 0;
  for (let i = 0; i < text.length; i += 1) {
    const symbol = text.charCodeAt(i) & 0xff;
    const code = codes[symbol]!;
    let left = lengths[symbol]!;
    while (bits + left >= 8) {
      left -= 8 - bits;
      out[at++] = (held << (8 - bits)) | (code >>> left);
      held = 0;
      bits = 0;
    }
    held = (held << left) | (code & ((1 << left) - 1));
    bits += left;
  }
  if (bits > 0) out[at++] = (held << (8 - bits)) | (0xff >>> bits); // padded with the first bits of EOS
  return at;
}

/** Bytes that decoding can give at most: no code is shorter than 5 bits. */
export function huffmanDecodedMax(bytes: number): number {
  return Math.floor((bytes * 8) / 5);
}

/**
 * Decodes data[start, end) to `out` from its beginning. Returns the bytes written, or -1: EOS within the text, or
 * padding that is a whole byte or not made of ones (RFC 7541 §5.2).
 */
export function huffmanDecode(data: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let count = 0;
  let held = 0; // the bits that are not decoded yet, right-aligned; never more than 32
  let bits = 0;
  let at = start;
  for (;;) {
    while (bits <= 24 && at < end) {
      held = (held << 8) | data[at++]!;
      bits += 8;
    }
    if (bits === 0) return count;
    const peeked = bits >= peekBits ? held >>> (bits - peekBits) : held << (peekBits - bits);
    const short = shortCodes[peeked & ((1 << peekBits) - 1)]!;
    const length = short & 15;
    if (length !== 0 && length <= bits) {
      out[count++] = short >>> 4;
      bits -= length;
      held &= bits === 0 ? 0 : 0xffffffff >>> (32 - bits);
      continue;
    }
    if (bits < 8 && at === end && held === (1 << bits) - 1) return count; // padding
    const found = decodeLong(held, bits, data, at, end);
    if (found === -1 || (found & 0xffff) === EOS) return -1;
    out[count++] = found & 0xffff;
    const used = found >>> 16;
    // A long code may reach beyond the bits at hand.
    if (used <= bits) {
      bits -= used;
    } else {
      const missing = used - bits;
      at += (missing + 7) >>> 3;
      bits = (8 - (missing & 7)) & 7;
      held = data[at - 1]!;
    }
    held &= bits === 0 ? 0 : 0xffffffff >>> (32 - bits);
  }
}

/** A code longer than `peekBits`: its length << 16 | symbol; -1 if the bits end before. */
function decodeLong(held: number, bits: number, data: Uint8Array, from: number, end: number): number {
  let at = from;
  let code = 0;
  let next = held;
  let left = bits;
  for (let length = 1; length <= codeBitsMax; length += 1) {
    if (left === 0) {
      if (at === end) return -1;
      next = data[at++]!;
      left = 8;
    }
    left -= 1;
    code = code * 2 + ((next >>> left) & 1);
    if (code < endCodes[length]! && code >= firstCodes[length]!) {
      return (length << 16) | symbols[firstSymbols[length]! + code - firstCodes[length]!]!;
    }
  }
  return -1;
}
