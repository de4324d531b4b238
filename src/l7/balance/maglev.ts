/**
 * Maglev hashing (Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4): a
 * lookup table in which every endpoint has almost exactly its share, and which changes little when endpoints come and go.
 */
import { hashText } from './hash.ts';

/** Places of every table: a prime, and the same however many endpoints there are, so that scaling moves few keys. */
export const maglevSize = 16_381;

/**
 * Place to index of an endpoint. Equal keys in equal order give equal tables everywhere.
 * @param weights of the same length, above 0; undefined: all alike
 * @returns undefined without endpoints. Beyond `maglevSize` endpoints the last ones get no place.
 */
export function maglevTable(
  keys: readonly string[],
  weights: readonly number[] | undefined,
): Uint16Array | undefined {
  const count = Math.min(keys.length, maglevSize);
  if (count === 0) return undefined;
  const next = new Uint32Array(count); // where each endpoint's permutation goes on
  const skips = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) {
    next[i] = hashText(keys[i]!) % maglevSize;
    skips[i] = (hashText(keys[i]!, 0x5bd1e995) % (maglevSize - 1)) + 1;
  }
  const heaviest = weights === undefined ? 1 : Math.max(...weights.slice(0, count));
  const turns = new Float64Array(count);
  const table = new Uint16Array(maglevSize);
  const taken = new Uint8Array(maglevSize);
  let filled = 0;
  while (filled < maglevSize) {
    for (let i = 0; i < count && filled < maglevSize; i += 1) {
      turns[i]! += weights === undefined ? 1 : weights[i]! / heaviest;
      if (turns[i]! < 1) continue; // a light endpoint sits out some rounds
      turns[i]! -= 1;
      let place = next[i]!;
      while (taken[place] === 1) place = (place + skips[i]!) % maglevSize;
      next[i] = (place + skips[i]!) % maglevSize;
      taken[place] = 1;
      table[place] = i;
      filled += 1;
    }
  }
  return table;
}
