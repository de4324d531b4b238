import { createHash, timingSafeEqual } from 'node:crypto';

/** The lines "user:hash" of a password file. Lines with a hash that cannot be checked are named in `unknown`. */
export function parsePasswordFile(text: string): {
  readonly users: ReadonlyMap<string, string>;
  readonly unknown: readonly string[];
} {
  const users = new Map<string, string>();
  const unknown: string[] = [];
  for (const line of text.split('\n')) {
    const trimmed = line.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const colon = trimmed.indexOf(':');
    const user = trimmed.slice(0, Math.max(colon, 0));
    const hash = trimmed.slice(colon + 1);
    if (colon > 0 && knownHash.test(hash)) users.set(user, hash);
    else unknown.push(user === '' ? trimmed.slice(0, 16) : user);
  }
  return { users, unknown };
}

const knownHash =
  /^(\{SHA\}[A-Za-z0-9+/]{27}=|\{SHA256\}[A-Za-z0-9+/]{43}=|\$apr1\$[^$]{1,8}\$[./0-9A-Za-z]{22})$/;

/** Whether `password` has that hash: `{SHA}`, `{SHA256}` or Apache's `$apr1$` (htpasswd's default). */
export function passwordFits(password: string, hash: string): boolean {
  if (hash.startsWith('{SHA}')) return sameText(`{SHA}${digest('sha1', password)}`, hash);
  if (hash.startsWith('{SHA256}')) return sameText(`{SHA256}${digest('sha256', password)}`, hash);
  const salt = /^\$apr1\$([^$]{1,8})\$/.exec(hash)?.[1];
  return salt !== undefined && sameText(apr1(password, salt), hash);
}

function digest(algorithm: string, text: string): string {
  return createHash(algorithm).update(text, 'utf8').digest('base64');
}

function sameText(a: string, b: string): boolean {
  const left = createHash('sha256').update(a).digest();
  return timingSafeEqual(left, createHash('sha256').update(b).digest());
}

const apr1Rounds = 1000;
const apr1Alphabet = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** Which bytes of the digest make which four characters; the last group makes two. */
const apr1Order = [
  [0, 6, 12],
  [1, 7, 13],
  [2, 8, 14],
  [3, 9, 15],
  [4, 10, 5],
] as const;

/** Apache's variant of the MD5-based crypt (https://httpd.apache.org/docs/2.4/misc/password_encryptions.html). */
export function apr1(password: string, salt: string): string {
  const secret = Buffer.from(password, 'utf8');
  const seasoned = Buffer.from(salt, 'latin1');
  const md5 = (...parts: readonly Buffer[]): Buffer => {
    const hash = createHash('md5');
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  const inner = md5(secret, seasoned, secret);
  const parts: Buffer[] = [secret, Buffer.from('$apr1$'), seasoned];
  for (let left = secret.length; left > 0; left -= 16) parts.push(inner.subarray(0, Math.min(16, left)));
  for (let bits = secret.length; bits > 0; bits >>= 1) {
    parts.push((bits & 1) === 1 ? Buffer.from([0]) : secret.subarray(0, 1));
  }
  let final = md5(...parts);
  for (let round = 0; round < apr1Rounds; round += 1) {
    const mix: Buffer[] = [(round & 1) === 1 ? secret : final];
    if (round % 3 !== 0) mix.push(seasoned);
    if (round % 7 !== 0) mix.push(secret);
    mix.push((round & 1) === 1 ? final : secret);
    final = md5(...mix);
  }
  let text = '';
  for (const [a, b, c] of apr1Order) text += base64Of((final[a]! << 16) | (final[b]! << 8) | final[c]!, 4);
  return `$apr1$${salt}$${text}${base64Of(final[11]!, 2)}`;
}

function base64Of(bits: number, characters: number): string {
  let text = '';
  let left = bits;
  for (let i = 0; i < characters; i += 1) {
    text += apr1Alphabet[left & 0x3f]!;
    left >>= 6;
  }
  return text;
}
