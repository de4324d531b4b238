/** Byte values of HTTP/1.1's grammar (RFC 9110 §5, RFC 9112). */
export const TAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SPACE = 0x20;
export const COLON = 0x3a;

/** May stand in a token: a method or a field name (RFC 9110 §5.6.2). */
export const CHAR_TOKEN = 1;
/** May stand in a field value: visible ASCII, space, tab, and obs-text, which is passed on unread (RFC 9110 §5.5). */
export const CHAR_VALUE = 2;
/** May stand in a request target: visible ASCII. Bytes above 0x7f are passed on as sent, as browsers' peers do. */
export const CHAR_TARGET = 4;
/** May stand in a Host header: reg-name, IPv4, bracketed IPv6 and a port. */
export const CHAR_HOST = 8;

/** Class bits of every byte. */
export const charClass: Readonly<Uint8Array> = classify();

function classify(): Uint8Array {
  const classes = new Uint8Array(256);
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
  const add = (text: string, bit: number): void => {
    for (let i = 0; i < text.length; i += 1) classes[text.charCodeAt(i)]! |= bit;
  };
  add(`!#$%&'*+-.^_\`|~${letters}`, CHAR_TOKEN);
  add(`-._~%!$&'()*+,;=:[]${letters}`, CHAR_HOST);
  for (let byte = 0x21; byte <= 0xff; byte += 1) {
    if (byte === 0x7f) continue;
    classes[byte]! |= CHAR_TARGET | CHAR_VALUE;
  }
  classes[SPACE]! |= CHAR_VALUE;
  classes[TAB]! |= CHAR_VALUE;
  return classes;
}
