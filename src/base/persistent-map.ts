/**
 * An immutable map from text to values of which a changed copy costs little: entries lie in buckets by their key's hash, and a
 * copy shares all buckets that did not change. So two versions of a large map are compared in time of what differs.
 */
export class PersistentMap<K extends string, V> implements ReadonlyMap<K, V> {
  readonly #buckets: readonly (ReadonlyMap<K, V> | undefined)[];
  readonly size: number;

  private constructor(buckets: readonly (ReadonlyMap<K, V> | undefined)[], size: number) {
    this.#buckets = buckets;
    this.size = size;
  }

  static empty<K extends string, V>(): PersistentMap<K, V> {
    return new PersistentMap<K, V>(new Array<undefined>(bucketsCount).fill(undefined), 0);
  }

  static from<K extends string, V>(entries: Iterable<readonly [K, V]>): PersistentMap<K, V> {
    return PersistentMap.empty<K, V>().with(entries);
  }

  /** A copy with these entries set; the value `undefined` removes one. Of two for one key the later counts. */
  with(changes: Iterable<readonly [K, V | undefined]>): PersistentMap<K, V> {
    let buckets: (ReadonlyMap<K, V> | undefined)[] | undefined;
    const own = new Map<number, Map<K, V>>(); // buckets of the copy, which may still be written
    let { size } = this;
    for (const [key, value] of changes) {
      const index = bucketOf(key);
      const old = (buckets ?? this.#buckets)[index];
      const had = old?.has(key) === true;
      if (value === undefined ? !had : had && old?.get(key) === value) continue;
      buckets ??= this.#buckets.slice();
      let bucket = own.get(index);
      if (bucket === undefined) {
        bucket = new Map(old);
        own.set(index, bucket);
        buckets[index] = bucket;
      }
      if (value === undefined) bucket.delete(key);
      else bucket.set(key, value);
      size += Number(value !== undefined) - Number(had);
    }
    return buckets === undefined ? this : new PersistentMap(buckets, size);
  }

  get(key: K): V | undefined {
    return this.#buckets[bucketOf(key)]?.get(key);
  }

  has(key: K): boolean {
    return this.#buckets[bucketOf(key)]?.has(key) === true;
  }

  *entries(): MapIterator<[K, V]> {
    for (const bucket of this.#buckets) if (bucket !== undefined) yield* bucket;
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }

  /** The keys whose values are not identical, with both values; undefined where a side does not have the key. */
  static changes<K extends string, V>(old: PersistentMap<K, V>, now: PersistentMap<K, V>): MapChange<K, V>[] {
    const found: MapChange<K, V>[] = [];
    for (let index = 0; index < bucketsCount; index++) {
      const before = old.#buckets[index];
      const after = now.#buckets[index];
      if (before === after) continue;
      for (const [key, value] of after ?? []) {
        const known = before?.get(key);
        if (known !== value) found.push({ key, old: known, now: value });
      }
      for (const [key, value] of before ?? []) {
        if (after?.has(key) !== true) found.push({ key, old: value, now: undefined });
      }
    }
    return found;
  }
}

export type MapChange<K, V> = {
  readonly key: K;
  readonly old: V | undefined;
  readonly now: V | undefined;
};

/** Thirty entries a bucket in a map of 30,000, which is the most that anybody needs here; a copy costs this many pointers. */
const bucketsCount = 1024;

/** FNV-1a, folded to the number of buckets. */
function bucketOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  return (hash ^ (hash >>> 16)) & (bucketsCount - 1);
}
