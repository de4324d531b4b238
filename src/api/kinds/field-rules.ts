import { child, invalid, notSupported } from '../field-errors.ts';
import { numberAt, stringAt } from '../fields.ts';
import type { FieldError } from '../kind.ts';
import { portNameProblems, portNumberProblems } from '../names.ts';
import type { Json, JsonObject } from '../object.ts';

/** Rules of single fields that many kinds share, in Kubernetes' words. */

/** A text that must be one of few; an absent one was filled by defaults, or is the caller's matter. */
export function oneOf(
  object: JsonObject,
  path: string,
  field: string,
  supported: readonly string[],
): readonly FieldError[] {
  const value = stringAt(object, field);
  if (value === '' || supported.includes(value)) return [];
  return [notSupported(child(path, field), value, supported)];
}

/** A port number, or the name of a container port. */
export function validatePortReference(port: Json | undefined, path: string): readonly FieldError[] {
  if (typeof port === 'string') return portNameProblems(port).map((problem) => invalid(path, port, problem));
  return portNumberProblems(port).map((problem) => invalid(path, port ?? 0, problem));
}

/** An absent number is within every range. */
export function inRange(
  object: JsonObject,
  path: string,
  field: string,
  range: { readonly least: number; readonly most: number },
): readonly FieldError[] {
  const value = numberAt(object, field);
  if (value === undefined || (value >= range.least && value <= range.most)) return [];
  const detail = `must be between ${range.least} and ${range.most}, inclusive`;
  return [invalid(child(path, field), value, detail)];
}

export function notNegative(object: JsonObject, path: string, field: string): readonly FieldError[] {
  const value = numberAt(object, field);
  if (value === undefined || value >= 0) return [];
  return [invalid(child(path, field), value, 'must be greater than or equal to 0')];
}

/** The texts under which `problemsOf` finds fault with a value; none for a value without fault. */
export function problemsAt(
  path: string,
  value: string,
  problemsOf: (text: string) => readonly string[],
): readonly FieldError[] {
  return problemsOf(value).map((problem) => invalid(path, value, problem));
}

/** A path that must not lead out of where it starts: one error is enough to say so. */
export function noBacksteps(path: string, value: string): readonly FieldError[] {
  return value.split('/').includes('..') ? [invalid(path, value, "must not contain '..'")] : [];
}

/** A relative path to something below. */
export function descendingPath(path: string, value: string): readonly FieldError[] {
  const absolute = value.startsWith('/') ? [invalid(path, value, 'must be a relative path')] : [];
  return [...absolute, ...noBacksteps(path, value)];
}

/** As descendingPath, for files of volumes: names that begin with ".." are the volume's own. */
export function volumeFilePath(path: string, value: string): readonly FieldError[] {
  const isReserved = value.startsWith('..') && !value.startsWith('../');
  return [
    ...descendingPath(path, value),
    ...(isReserved && value !== '..' ? [invalid(path, value, "must not start with '..'")] : []),
  ];
}
