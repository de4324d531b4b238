/**
 * Numbers that look random, for spreading load, not for secrets: xorshift of 32 bits (Marsaglia 2003). Pure: each number is
 * made from the one before it. `state` must not be 0, and the result never is.
 */
export function nextRandom(state: number): number {
  let next = state;
  next ^= next << 13;
  next ^= next >>> 17;
  next ^= next << 5;
  return next >>> 0;
}

/** The items in an order by `state`; each order is as likely as any other (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], state: number): readonly T[] {
  const order = [...items];
  let random = state;
  for (let index = order.length - 1; index > 0; index--) {
    random = nextRandom(random);
    const other = random % (index + 1);
    const item = order[index] as T;
    order[index] = order[other] as T;
    order[other] = item;
  }
  return order;
}
