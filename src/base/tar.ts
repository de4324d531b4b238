/**
 * POSIX tar (ustar with pax records for long names), written and read in memory.
 * Spec: pax interchange format, IEEE Std 1003.1, "ustar Interchange Format".
 */

type Common = {
  /** Relative, without leading "/" or "./"; directories without trailing "/". */
  readonly path: string;
  readonly mode?: number | undefined; // permission bits; default 0o755 for directories, 0o644 for files
  readonly uid?: number | undefined; // default 0
  readonly gid?: number | undefined; // default 0
  /** Seconds since the epoch. Default 0, so that equal content gives equal bytes. */
  readonly mtimeSeconds?: number | undefined;
};

export type TarEntry =
  | (Common & { readonly kind: 'file'; readonly data: Uint8Array })
  | (Common & { readonly kind: 'directory' })
  | (Common & { readonly kind: 'symlink'; readonly target: string })
  /** `target` is the path of an earlier entry of the same archive. */
  | (Common & { readonly kind: 'hardlink'; readonly target: string })
  /** A character or block device. */
  | (Common & {
      readonly kind: 'character' | 'block';
      readonly major: number;
      readonly minor: number;
    })
  | (Common & { readonly kind: 'fifo' });

const blockBytes = 512;
const typeFlags = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const satisfies Record<TarEntry['kind'], string>;
/** Names of ustar's prefix and name fields are bytes; longer ones go into a pax record. */
const nameBytesMax = 100;
const octalFieldMax = 0o7777777;

/** The archive as pieces to be written one after another; file data is not copied. Ends with two zero blocks. */
export function* renderTar(entries: Iterable<TarEntry>): Generator<Uint8Array, void, void> {
  for (const entry of entries) {
    const name = entry.kind === 'directory' ? `${entry.path}/` : entry.path;
    const pax = paxRecords(entry, name);
    if (pax.length > 0) {
      yield header({ path: 'pax', kind: 'file', data: pax }, 'pax', 'x', pax.length);
      yield* padded(pax);
    }
    const data = entry.kind === 'file' ? entry.data : empty;
    yield header(entry, name, typeFlags[entry.kind], data.length);
    yield* padded(data);
  }
  yield new Uint8Array(2 * blockBytes);
}

const empty = new Uint8Array(0);

function* padded(data: Uint8Array): Generator<Uint8Array, void, void> {
  if (data.length === 0) return;
  yield data;
  const rest = data.length % blockBytes;
  if (rest !== 0) yield new Uint8Array(blockBytes - rest);
}

function paxRecords(entry: TarEntry, name: string): Uint8Array {
  let text = '';
  if (Buffer.byteLength(name) > nameBytesMax) text += paxRecord('path', name);
  if ('target' in entry && Buffer.byteLength(entry.target) > nameBytesMax) {
    text += paxRecord('linkpath', entry.target);
  }
  if ((entry.uid ?? 0) > octalFieldMax) text += paxRecord('uid', String(entry.uid));
  if ((entry.gid ?? 0) > octalFieldMax) text += paxRecord('gid', String(entry.gid));
  return Buffer.from(text);
}

/** "LENGTH key=value\n", where LENGTH counts itself. */
function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(body);
  let length = bytes + String(bytes).length;
  if (String(length).length !== String(bytes).length) length = bytes + String(length).length;
  return `${length}${body}`;
}

function header(entry: TarEntry, name: string, typeFlag: string, size: number): Uint8Array {
  const block = Buffer.alloc(blockBytes);
  const octal = (value: number, offset: number, width: number) => {
    block.write(`${value.toString(8).padStart(width - 1, '0')}\0`, offset, 'latin1');
  };
  Buffer.from(name).copy(block, 0, 0, nameBytesMax);
  octal(entry.mode ?? (entry.kind === 'directory' ? 0o755 : 0o644), 100, 8);
  octal(Math.min(entry.uid ?? 0, octalFieldMax), 108, 8);
  octal(Math.min(entry.gid ?? 0, octalFieldMax), 116, 8);
  octal(size, 124, 12);
  octal(entry.mtimeSeconds ?? 0, 136, 12);
  block.write('        ', 148, 'latin1'); // the checksum counts its own field as blanks
  block.write(typeFlag, 156, 'latin1');
  if ('target' in entry) Buffer.from(entry.target).copy(block, 157, 0, nameBytesMax);
  block.write('ustar\x0000', 257, 'latin1');
  if (entry.kind === 'character' || entry.kind === 'block') {
    octal(entry.major, 329, 8);
    octal(entry.minor, 337, 8);
  }
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/**
 * Reads a whole archive; file data are views into `archive`. Understands ustar, pax (path, linkpath, size, uid, gid) and
 * GNU long names. A leading "./" and trailing "/" are taken off paths; the root directory itself is left out.
 * Throws RangeError where the archive is cut off or a checksum is wrong.
 */
export function* parseTar(archive: Uint8Array): Generator<TarEntry, void, void> {
  const bytes = Buffer.from(archive.buffer, archive.byteOffset, archive.byteLength);
  let pax: Readonly<Record<string, string>> = {};
  let offset = 0;
  while (offset + blockBytes <= bytes.length) {
    const block = bytes.subarray(offset, offset + blockBytes);
    if (block.every((byte) => byte === 0)) return;
    verifyChecksum(block, offset);
    const size = pax['size'] === undefined ? numberAt(block, 124, 12) : Number(pax['size']);
    const start = offset + blockBytes;
    if (start + size > bytes.length) throw new RangeError(`Tar entry at byte ${offset} is cut off`);
    const data = bytes.subarray(start, start + size);
    offset = start + Math.ceil(size / blockBytes) * blockBytes;
    const flag = String.fromCharCode(block[156] ?? 0);
    if (flag === 'x') pax = { ...pax, ...parsePax(data) };
    else if (flag === 'L') pax = { ...pax, path: cString(data) };
    else if (flag === 'K') pax = { ...pax, linkpath: cString(data) };
    else {
      const entry = toEntry(block, flag, data, pax);
      if (entry !== undefined) yield entry;
      pax = {};
    }
  }
}

function verifyChecksum(block: Buffer, offset: number): void {
  let sum = 8 * 32;
  for (let index = 0; index < blockBytes; index++) {
    if (index < 148 || index >= 156) sum += block[index] ?? 0;
  }
  if (sum !== numberAt(block, 148, 8))
    throw new RangeError(`Tar header at byte ${offset} has a wrong checksum`);
}

/** Octal text, or GNU's base-256 where the first bit is set. */
function numberAt(block: Buffer, offset: number, width: number): number {
  const field = block.subarray(offset, offset + width);
  if (((field[0] ?? 0) & 0x80) !== 0) {
    let value = (field[0] ?? 0) & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
    return value;
  }
  const text = cString(field).trim();
  return text === '' ? 0 : Number.parseInt(text, 8);
}

function cString(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end === -1 ? field.length : end);
}

function parsePax(data: Buffer): Record<string, string> {
  const records: Record<string, string> = {};
  let offset = 0;
  while (offset < data.length) {
    const space = data.indexOf(0x20, offset);
    const length = Number(data.toString('latin1', offset, space));
    if (space === -1 || !(length > 0)) throw new RangeError('Tar pax record has no length');
    const record = data.toString('utf8', space + 1, offset + length - 1);
    const equals = record.indexOf('=');
    records[record.slice(0, equals)] = record.slice(equals + 1);
    offset += length;
  }
  return records;
}

function toEntry(
  block: Buffer,
  flag: string,
  data: Buffer,
  pax: Readonly<Record<string, string>>,
): TarEntry | undefined {
  const prefix = block.toString('latin1', 257, 262) === 'ustar' ? cString(block.subarray(345, 500)) : '';
  const short = cString(block.subarray(0, nameBytesMax));
  const name = pax['path'] ?? (prefix === '' ? short : `${prefix}/${short}`);
  const path = name.replace(/^(\.?\/)+/, '').replace(/\/+$/, '');
  if (path === '' || path === '.') return undefined;
  const common = {
    path,
    mode: numberAt(block, 100, 8) & 0o7777,
    uid: pax['uid'] === undefined ? numberAt(block, 108, 8) : Number(pax['uid']),
    gid: pax['gid'] === undefined ? numberAt(block, 116, 8) : Number(pax['gid']),
    mtimeSeconds: numberAt(block, 136, 12),
  };
  const target = pax['linkpath'] ?? cString(block.subarray(157, 257));
  const device = { major: numberAt(block, 329, 8), minor: numberAt(block, 337, 8) };
  switch (flag) {
    case '0':
    case '\0':
    case '7':
      return { kind: 'file', ...common, data };
    case '1':
      return { kind: 'hardlink', ...common, target: target.replace(/^(\.?\/)+/, '') };
    case '2':
      return { kind: 'symlink', ...common, target };
    case '3':
      return { kind: 'character', ...common, ...device };
    case '4':
      return { kind: 'block', ...common, ...device };
    case '5':
      return { kind: 'directory', ...common };
    case '6':
      return { kind: 'fifo', ...common };
    default:
      return undefined; // global pax headers and vendor extensions carry no file
  }
}
