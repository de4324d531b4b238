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
    const name = tokenOf(line.slice(0, Math.max(colon, 0)).trim());
    const value = line.slice(colon + 1).trim();
    if (name === undefined || untouchable.test(name) || (value !== '' && lineOf(value) === undefined)) {
      return undefined;
    }
    fields.push({ name, value });
  }
  return fields.length === 0 || fields.length > fieldsMax ? undefined : fields;
}
