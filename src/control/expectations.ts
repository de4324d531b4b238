import { type KubeObject, keyOf, type ObjectKey } from '../api/object.ts';
import type { Clock } from '../base/clock.ts';
import type { Informer } from './informer.ts';

type Expected = { readonly version: string | undefined; readonly untilMs: number };

/** A write that its own watch has not shown by then will not be shown: the object was replaced or removed meanwhile. */
const expectationLifetimeMs = 30_000;

/**
 * Remembers what a controller wrote until its informer shows it. A pass that planned on an older copy would write the same
 * once more: two Pods for one. `owner` is the key whose pass wrote. Bound: writes under way; each ends in 30 s.
 */
export class Expectations<T extends KubeObject> {
  readonly #informer: Informer<T>;
  readonly #clock: Clock;
  readonly #byOwner = new Map<string, Map<ObjectKey, Expected>>();
  readonly #ownerOf = new Map<ObjectKey, string>();

  constructor(informer: Informer<T>, clock: Clock) {
    this.#informer = informer;
    this.#clock = clock;
    informer.onChange((key, now) => this.#observe(key, now));
  }

  /** `object` as the server returned it from create, replace or patch. */
  written(owner: string, object: T): void {
    const key = keyOf(object);
    const version = object.metadata?.resourceVersion;
    if (isAsNewAs(this.#informer.get(key), version)) return;
    this.#add(owner, key, version);
  }

  /** A delete of this object was accepted: it will go or get a deletionTimestamp. */
  deleted(owner: string, object: T): void {
    const key = keyOf(object);
    const seen = this.#informer.get(key);
    if (seen === undefined || seen.metadata?.deletionTimestamp !== undefined) return;
    this.#add(owner, key, undefined);
  }

  /** How long to wait at most before the next pass of `owner`, ms; 0: go ahead. */
  waitMs(owner: string): number {
    const expected = this.#byOwner.get(owner);
    if (expected === undefined) return 0;
    const nowMs = this.#clock.monotonicMs();
    let waitMs = 0;
    for (const [key, { untilMs }] of expected) {
      if (untilMs <= nowMs) this.#drop(owner, key);
      else waitMs = Math.max(waitMs, untilMs - nowMs);
    }
    return waitMs;
  }

  #add(owner: string, key: ObjectKey, version: string | undefined): void {
    let expected = this.#byOwner.get(owner);
    if (expected === undefined) {
      expected = new Map();
      this.#byOwner.set(owner, expected);
    }
    expected.set(key, { version, untilMs: this.#clock.monotonicMs() + expectationLifetimeMs });
    this.#ownerOf.set(key, owner);
  }

  #observe(key: ObjectKey, now: T | undefined): void {
    const owner = this.#ownerOf.get(key);
    if (owner === undefined) return;
    const expected = this.#byOwner.get(owner)?.get(key);
    if (expected === undefined) return;
    const seen =
      now === undefined ||
      (expected.version === undefined
        ? now.metadata?.deletionTimestamp !== undefined
        : isAsNewAs(now, expected.version));
    if (seen) this.#drop(owner, key);
  }

  #drop(owner: string, key: ObjectKey): void {
    this.#ownerOf.delete(key);
    const expected = this.#byOwner.get(owner);
    expected?.delete(key);
    if (expected?.size === 0) this.#byOwner.delete(owner);
  }
}

/** Resource versions of one server are increasing integers (KEP-5504). */
function isAsNewAs(object: KubeObject | undefined, version: string | undefined): boolean {
  const seen = object?.metadata?.resourceVersion;
  if (seen === undefined || version === undefined) return false;
  return seen.length === version.length ? seen >= version : seen.length > version.length;
}
