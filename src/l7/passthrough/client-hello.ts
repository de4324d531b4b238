/** What a client of TLS says first, read as far as its server must be chosen by it (RFC 5246 §7.4.1.2, RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301). */
export type ClientHello = {
  /** The name that it asks for, in lower case; undefined: it gives none. */
  readonly serverName: string | undefined;
  /** Offered by ALPN, in its order. Latin-1. */
  readonly protocols: readonly string[];
  /** The newest version that it offers, GREASE left out: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. */
  readonly version: number;
};

export type ParsedHello =
  | { readonly kind: 'hello'; readonly hello: ClientHello }
  | { readonly kind: 'failure'; readonly reason: string };

const randomBytes = 32;
const sessionIdBytesMax = 32;
const SERVER_NAME = 0;
const ALPN = 16;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;
const HOST_NAME = 0;

/**
 * Reads the body of a ClientHello, without the four bytes in front that tell its type and length. Strict: what a server could
 * understand otherwise is a failure, so that we never choose by a name that it does not see.
 */
export function parseClientHello(body: Buffer): ParsedHello {
  const reader = new Reader(body);
  const legacyVersion = reader.number(2);
  reader.skip(randomBytes);
  if (reader.vector(1).length > sessionIdBytesMax) return failure('its session id is too long');
  const ciphers = reader.vector(2);
  const compressions = reader.vector(1);
  if (reader.short) return failure('it is cut short');
  if (legacyVersion >> 8 !== 3) return failure('its version is none of TLS');
  if (ciphers.length === 0 || ciphers.length % 2 !== 0)
    return failure('its cipher suites are no list of such');
  if (!compressions.includes(0)) return failure('it does not offer to leave out compression');
  if (reader.ended) return { kind: 'hello', hello: { ...nothingOffered, version: legacyVersion } };
  const extensions = reader.vector(2);
  if (reader.short || !reader.ended) return failure('its extensions do not end where it does');
  return parseExtensions(extensions, legacyVersion);
}

const nothingOffered = { serverName: undefined, protocols: [] } as const;

/** @param legacyVersion counts where no extension names versions */
function parseExtensions(bytes: Buffer, legacyVersion: number): ParsedHello {
  const reader = new Reader(bytes);
  const seen = new Set<number>();
  let serverName: string | undefined;
  let protocols: readonly string[] = [];
  let version = legacyVersion;
  while (!reader.ended) {
    const type = reader.number(2);
    const content = reader.vector(2);
    if (reader.short) return failure('an extension is cut short');
    if (seen.has(type)) return failure(`extension ${type} comes twice`);
    if (seen.has(PRE_SHARED_KEY)) return failure('something comes behind the extension that must be last');
    seen.add(type);
    if (type === SERVER_NAME) {
      serverName = serverNameOf(content);
      if (serverName === undefined) return failure('its server name is not one DNS name');
    } else if (type === ALPN) {
      const offered = protocolsOf(content);
      if (offered === undefined) return failure('its protocols (ALPN) are no list of such');
      protocols = offered;
    } else if (type === SUPPORTED_VERSIONS) {
      const newest = newestVersion(content);
      if (newest === undefined) return failure('its versions are no list of such');
      version = newest;
    }
  }
  return { kind: 'hello', hello: { serverName, protocols, version } };
}

/** One entry of the only type that there is (RFC 6066 §3), and a name that DNS can have. */
function serverNameOf(content: Buffer): string | undefined {
  const list = new Reader(content);
  const entries = new Reader(list.vector(2));
  const type = entries.number(1);
  const name = entries.vector(2);
  if (list.short || !list.ended || entries.short || !entries.ended || type !== HOST_NAME) return undefined;
  const text = name.toString('latin1').toLowerCase();
  return isHostName(text) ? text : undefined;
}

/** Labels of letters, digits, - and _, which some use though they should not. No dot at the end, by RFC 6066. */
function isHostName(text: string): boolean {
  return text.length <= 253 && /^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(text);
}

function protocolsOf(content: Buffer): readonly string[] | undefined {
  const list = new Reader(content);
  const entries = new Reader(list.vector(2));
  const protocols: string[] = [];
  while (!entries.ended) {
    const name = entries.vector(1);
    if (entries.short || name.length === 0) return undefined;
    protocols.push(name.toString('latin1'));
  }
  return list.short || !list.ended || protocols.length === 0 ? undefined : protocols;
}

/** 0: those that it names are none that we know. */
function newestVersion(content: Buffer): number | undefined {
  const list = new Reader(content);
  const versions = new Reader(list.vector(1));
  if (list.short || !list.ended || versions.ended) return undefined;
  let newest = 0;
  while (!versions.ended) {
    const version = versions.number(2);
    if (version >> 8 === 3 && version > newest) newest = version; // what GREASE draws (RFC 8701) is 0x?A?A
  }
  return versions.short ? undefined : newest;
}

function failure(reason: string): ParsedHello {
  return { kind: 'failure', reason };
}

/** Goes through bytes. Beyond the end it gives nothing, and `short` is true from then on. */
class Reader {
  short = false;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get ended(): boolean {
    return this.short || this.#at === this.#bytes.length;
  }

  /** Big-endian, of one or two bytes. */
  number(size: 1 | 2): number {
    const at = this.#at;
    if (!this.skip(size)) return 0;
    return size === 1 ? this.#bytes[at]! : this.#bytes.readUInt16BE(at);
  }

  /** What a length of so many bytes announces. */
  vector(sizeOfLength: 1 | 2): Buffer {
    const length = this.number(sizeOfLength);
    const at = this.#at;
    return this.skip(length) ? this.#bytes.subarray(at, at + length) : this.#bytes.subarray(0, 0);
  }

  /** False: there are not so many left. */
  skip(count: number): boolean {
    if (this.short || this.#at + count > this.#bytes.length) this.short = true;
    else this.#at += count;
    return !this.short;
  }
}
