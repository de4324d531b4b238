import type { Json } from '../object.ts';
import { CelError, type Expression } from './expression.ts';
import { longestOf } from './json-value.ts';

/**
 * Bounds the work of expressions before they run: length of the text × the longest collection to the power of the nested
 * loops. It is above the true work, so no object can hold the server up.
 */

/** Work of one expression at most. */
export const expressionCostMax = 100_000_000;
/** Work of all expressions for one request together. */
export const requestCostMax = 300_000_000;

/** What the expressions of one request may still cost, and the data that they look at. */
export type Budget = {
  left: number;
  readonly longest: number;
  readonly longestWithTexts: number;
};

export function budgetFor(...values: readonly (Json | undefined)[]): Budget {
  const longest = (countTexts: boolean): number =>
    Math.max(1, ...values.map((value) => (value === undefined ? 1 : longestOf(value, countTexts))));
  return { left: requestCostMax, longest: longest(false), longestWithTexts: longest(true) };
}

/** The value of the expression. Throws CelError, also where it would cost too much. */
export function evaluateWithin(
  budget: Budget,
  expression: Expression,
  variables: Readonly<Record<string, unknown>>,
): unknown {
  const elements = expression.splitsTexts ? budget.longestWithTexts : budget.longest;
  const cost = expression.size * elements ** expression.loopDepth;
  budget.left -= cost;
  if (cost > expressionCostMax || budget.left < 0) {
    throw new CelError('operation cancelled: actual cost limit exceeded');
  }
  return expression.evaluate(variables);
}
