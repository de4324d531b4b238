/** Numbers in [0, 1) from a seed: xorshift32, quick and even enough for spreading load. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0 || 0x9e3779b9; // zero would stay zero
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}
