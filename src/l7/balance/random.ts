import { nextRandom } from '../../base/random.ts';

/** Numbers in [0, 1) from a seed, quick and even enough for spreading load. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 0x9e3779b9; // zero would stay zero
  return () => {
    state = nextRandom(state);
    return state / 0x1_0000_0000;
  };
}
