/** A reader of DER (ITU-T X.690), as much as certificates need of it: definite lengths, tags of one byte. */

export type DerElement = {
  /** The identifier byte: 0x30 is a SEQUENCE, 0xa0 the context's [0]. */
  readonly tag: number;
  /** The bytes of the whole element. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array;
};

/** Elements of one SEQUENCE or SET; more are refused. */
const elementsMax = 10_000;

/** The elements that follow each other in `bytes`. Throws RangeError where that is not DER. */
export function readElements(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let at = 0; at < bytes.length; ) {
    const element = readElement(bytes, at);
    elements.push(element);
    at += element.bytes.length;
    if (elements.length > elementsMax) throw new RangeError('too many elements');
  }
  return elements;
}

function readElement(bytes: Uint8Array, start: number): DerElement {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (tag === undefined || first === undefined) throw new RangeError('data truncated');
  if ((tag & 0x1f) === 0x1f) throw new RangeError('a tag of several bytes');
  let length = first;
  let contentStart = start + 2;
  if (first >= 0x80) {
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > 4) throw new RangeError('invalid length');
    length = 0;
    for (let at = 0; at < lengthBytes; at++) length = length * 256 + (bytes[contentStart + at] ?? 0);
    contentStart += lengthBytes;
  }
  const end = contentStart + length;
  if (end > bytes.length) throw new RangeError('data truncated');
  return { tag, bytes: bytes.subarray(start, end), content: bytes.subarray(contentStart, end) };
}

/** The only element of `bytes`, of the tag that is wanted. Throws RangeError. */
export function readOnly(bytes: Uint8Array, tag: number): DerElement {
  const [element, ...more] = readElements(bytes);
  if (element === undefined || element.tag !== tag) throw new RangeError('another element than expected');
  if (more.length > 0) throw new RangeError('trailing data');
  return element;
}

/** `1.2.840.113549` out of the content of an OBJECT IDENTIFIER. */
export function readOid(content: Uint8Array): string {
  const numbers: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (numbers.length === 0) {
      const root = Math.min(Math.floor(value / 40), 2);
      numbers.push(root, value - root * 40);
    } else numbers.push(value);
    value = 0;
  }
  return numbers.join('.');
}
