import { protobufFields } from '../api/gen/protobuf-fields.ts';
import type { FieldType } from '../api/schema.ts';

/** Kubernetes' protobuf form: which field has which number, and what every message starts with. */

/** The four bytes in front of every such body: "k8s" and a zero. */
export const protobufMagic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** A field by its number: a JSON field, or a message whose fields stand among its parent's. */
export type Numbered =
  | { readonly kind: 'field'; readonly name: string; readonly shape?: string }
  | { readonly kind: 'embedded'; readonly numbers: Numbers };
export type Numbers = ReadonlyMap<number, Numbered>;

const numbersOfType = new Map<string, Numbers>();

/** The fields of a type by number; none where the type has no protobuf form. */
export function numbersOf(typeName: string): Numbers {
  const known = numbersOfType.get(typeName);
  if (known !== undefined) return known;
  const parsed = parseNumbers(protobufFields[typeName] ?? '');
  numbersOfType.set(typeName, parsed);
  return parsed;
}

/** The type of a field whose message looks different as JSON, where the schema says `any`: its shape's name. */
export function shapedType(type: FieldType, shape: string): FieldType {
  return type.kind === 'map'
    ? { kind: 'map', of: { kind: 'type', name: shape } }
    : { kind: 'type', name: shape };
}

/** Reads `1 name, 2 (1 exec, 2 httpGet), 3 other, 4 items:SHAPE`. The text is our own, so it is well formed. */
export function parseNumbers(text: string): Numbers {
  const numbers = new Map<number, Numbered>();
  let depth = 0;
  let start = 0;
  for (let at = 0; at <= text.length; at++) {
    const character = text[at];
    if (character === '(') depth++;
    else if (character === ')') depth--;
    else if ((character === ',' && depth === 0) || at === text.length) {
      const part = text.slice(start, at).trim();
      start = at + 1;
      const space = part.indexOf(' ');
      if (space === -1) continue;
      const rest = part.slice(space + 1);
      const embedded = rest.startsWith('(');
      const [name = '', shape] = rest.split(':');
      numbers.set(
        Number(part.slice(0, space)),
        embedded
          ? { kind: 'embedded', numbers: parseNumbers(rest.slice(1, -1)) }
          : { kind: 'field', name, ...(shape === undefined ? {} : { shape }) },
      );
    }
  }
  return numbers;
}
