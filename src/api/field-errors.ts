import type { FieldError } from './kind.ts';
import { isJsonObject } from './object.ts';

/** Builders of FieldError in Kubernetes' words (apimachinery pkg/util/validation/field). */

/** "spec" + "ports" → "spec.ports"; an empty parent gives the bare name. */
export function child(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

/** "spec.ports" + 0 → "spec.ports[0]". */
export function index(path: string, position: number): string {
  return `${path}[${position}]`;
}

/** "metadata.labels" + "a/b" → "metadata.labels[a/b]". */
export function mapKey(path: string, key: string): string {
  return `${path}[${key}]`;
}

function quoteValue(value: unknown): string {
  if (value === undefined) return 'null';
  if (typeof value === 'bigint') return value.toString();
  return JSON.stringify(isJsonObject(value) ? value : (value ?? null));
}

export function required(field: string, detail = ''): FieldError {
  return {
    type: 'FieldValueRequired',
    field,
    message: detail === '' ? 'Required value' : `Required value: ${detail}`,
  };
}

export function invalid(field: string, value: unknown, detail: string): FieldError {
  return { type: 'FieldValueInvalid', field, message: `Invalid value: ${quoteValue(value)}: ${detail}` };
}

/** The supported values are listed in alphabetical order, as Kubernetes does for its own kinds. */
export function notSupported(field: string, value: unknown, supported: readonly string[]): FieldError {
  return notOneOf(field, value, supported.toSorted());
}

/** The same with the supported values in their own order. */
export function notOneOf(field: string, value: unknown, supported: readonly string[]): FieldError {
  const list = supported.map((item) => JSON.stringify(item)).join(', ');
  return {
    type: 'FieldValueNotSupported',
    field,
    message: `Unsupported value: ${quoteValue(value)}: supported values: ${list}`,
  };
}

export function duplicate(field: string, value: unknown): FieldError {
  return { type: 'FieldValueDuplicate', field, message: `Duplicate value: ${quoteValue(value)}` };
}

export function forbidden(field: string, detail: string): FieldError {
  return { type: 'FieldValueForbidden', field, message: `Forbidden: ${detail}` };
}

export function tooLong(field: string, bytesMax: number): FieldError {
  return {
    type: 'FieldValueTooLong',
    field,
    message: `Too long: may not be more than ${bytesMax} bytes`,
  };
}

export function tooMany(field: string, actual: number, itemsMax: number): FieldError {
  return {
    type: 'FieldValueTooMany',
    field,
    message: `Too many: ${actual}: must have at most ${itemsMax} items`,
  };
}

export function notFound(field: string, value: unknown): FieldError {
  return { type: 'FieldValueNotFound', field, message: `Not found: ${quoteValue(value)}` };
}
