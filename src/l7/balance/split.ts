import { hashText, mix } from './hash.ts';

/** One of the Services that share the requests of a rule. */
export type SplitBackend = {
  /** Index into `RouteTable.backends`. */
  readonly backend: number;
  /** The Service's, "namespace/name". */
  readonly key: string;
  /** Its share compared with the others'; 0: nothing but sessions that it has. */
  readonly weight: number;
};

/** At least one has a weight above 0. */
export type Split = readonly SplitBackend[];

/** Whose turn it is: each gains its weight, the richest is taken and pays for all. So shares are exact over a round, and evenly spread. */
export class SplitTurns {
  /** By the split itself: a changed one begins afresh. */
  readonly #credits = new WeakMap<Split, Float64Array>();

  next(split: Split): SplitBackend {
    let credits = this.#credits.get(split);
    if (credits === undefined) this.#credits.set(split, (credits = new Float64Array(split.length)));
    let best = -1;
    let total = 0;
    for (let index = 0; index < split.length; index += 1) {
      const { weight } = split[index]!;
      if (weight === 0) continue;
      credits[index]! += weight;
      total += weight;
      if (best === -1 || credits[index]! > credits[best]!) best = index;
    }
    credits[best]! -= total;
    return split[best]!;
  }
}

/** The one that requests of this hash go to, by its weight: a changed weight moves as few of them as it can. */
export function splitByHash(split: Split, hash: number): SplitBackend {
  let best = split[0]!;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const candidate of split) {
    const drawn = (mix(hash ^ hashText(candidate.key)) + 1) / 0x1_0000_0001; // in (0, 1)
    const score = candidate.weight / -Math.log(drawn);
    if (candidate.weight > 0 && score > bestScore) {
      best = candidate;
      bestScore = score;
    }
  }
  return best;
}
