/** Readers of annotation values. undefined: the value is not allowed. */

export const pathAllowed = 'a path that begins with / and has no ? or #';

export function pathOf(value: string): string | undefined {
  return /^\/[A-Za-z0-9\-._~%!$&'()*+,;=:@/]*$/.test(value) && value.length <= 1024 ? value : undefined;
}

export function integerIn(min: number, max: number) {
  return (value: string): number | undefined => {
    const number = /^\d{1,9}$/.test(value) ? Number(value) : -1;
    return number >= min && number <= max ? number : undefined;
  };
}

/** The elements of a list; undefined: none, or one that is not allowed. */
export function listOf<T>(value: string, parse: (item: string) => T | undefined): readonly T[] | undefined {
  const items: T[] = [];
  for (const text of value.split(',')) {
    const item = parse(text.trim());
    if (item === undefined) return undefined;
    items.push(item);
  }
  return items;
}

export function namesOf(value: string): string | undefined {
  return listOf(value, (item) => (item === '*' ? item : tokenOf(item)))?.join(', ');
}

export function tokenOf(value: string): string | undefined {
  return /^[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,128}$/.test(value) ? value : undefined;
}

export function lineOf(value: string): string | undefined {
  return /^[\x20-\x7e]{1,1024}$/.test(value) ? value : undefined;
}

export function objectNameOf(value: string): string | undefined {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(value) ? value : undefined;
}

/** An object that an annotation names; `namespace` undefined: that of the Ingress. */
export type NamedObject = { readonly namespace: string | undefined; readonly name: string };

/** NAME, or NAMESPACE/NAME. */
export function namedObjectOf(value: string): NamedObject | undefined {
  const slash = value.indexOf('/');
  const namespace = slash === -1 ? undefined : objectNameOf(value.slice(0, slash));
  const name = objectNameOf(value.slice(slash + 1));
  return name === undefined || (slash !== -1 && namespace === undefined) ? undefined : { namespace, name };
}

export const secretAllowed =
  'the name of a Secret in the same namespace, or NAMESPACE/NAME of one that lets it be used';
