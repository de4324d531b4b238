import type { FieldEdit } from '../policy.ts';
import { lineOf, tokenOf } from './values.ts';

export const fieldsAllowed =
  'lines "Name: value", at most 32; an empty value removes the field; not Host, X-Forwarded-… or fields of the connection';
const fieldsMax = 32;
const untouchable =
  /^(host|connection|content-length|transfer-encoding|upgrade|keep-alive|te|trailer|expect|proxy-.*|http2-settings|x-forwarded-.*|x-real-ip)$/i;

export function fieldsOf(text: string): readonly FieldEdit[] | undefined {
  const fields: FieldEdit[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const colon = line.indexOf(':');
    const field = fieldOf(line.slice(0, Math.max(colon, 0)).trim(), line.slice(colon + 1).trim());
    if (field === undefined) return undefined;
    fields.push(field);
  }
  return fields.length === 0 || fields.length > fieldsMax ? undefined : fields;
}

/** undefined: it is none, or one that belongs to the connection or to us. */
function fieldOf(name: string, value: string): FieldEdit | undefined {
  const fits = tokenOf(name) !== undefined && (value === '' || lineOf(value) !== undefined);
  return fits && !untouchable.test(name) ? { name, value } : undefined;
}

/** Fields that an object holds by name; text: why they cannot be used. */
export function fieldsOfData(data: Readonly<Record<string, string>>): readonly FieldEdit[] | string {
  const entries = Object.entries(data);
  if (entries.length > fieldsMax) return `it holds more than ${fieldsMax} fields`;
  const fields: FieldEdit[] = [];
  for (const [name, value] of entries) {
    const field = fieldOf(name, value.trim());
    if (field === undefined) return `${name} is no header, or one that belongs to the connection`;
    fields.push(field);
  }
  return fields;
}
