import { type Entry, type Revision, StoreError, type StoreEvent } from './store.ts';

/** Why a write that expects `expected` cannot be made over `current`; undefined: it can. See Store.put. */
export function refusalOf(
  type: StoreEvent['type'],
  key: string,
  current: Entry | undefined,
  expected: Revision,
): StoreError | undefined {
  if (type === 'put' && expected === 0) {
    return current === undefined ? undefined : new StoreError('Exists', `${key} exists`, { current });
  }
  if (current === undefined) return new StoreError('Missing', `${key} does not exist`);
  if (current.revision === expected) return undefined;
  return new StoreError('Conflict', `${key} is at revision ${current.revision}, not ${expected}`, {
    current,
  });
}
