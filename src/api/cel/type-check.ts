import { celProblem, type ExpressionScope, newEnvironment, type VariableType } from './expression.ts';
import type { CelTypes } from './schema-types.ts';

/** What an expression gives, or why it cannot work. */
export type TypeFinding = { readonly type: string } | { readonly problem: string };

/**
 * Checks expressions, without running them, against what is known of their variables: `known` has the CEL type of each variable
 * of the scope that has one, `types` the messages among them. Inside `has(…)` and behind `.?` a missing field is no finding.
 */
export function createTypeChecker(
  scope: ExpressionScope,
  types: CelTypes,
  known: Readonly<Record<string, string>>,
): (text: string) => TypeFinding {
  const variables: Record<string, VariableType> = { ...scope.variables };
  const environment = newEnvironment({ key: '', variables: withoutKnown(variables, known) });
  // A class of its own for each: without one, types would have to come in the order of their use, which some have no end of.
  for (const [name, fields] of types) environment.registerType(name, { ctor: class {}, fields });
  for (const name of types.keys()) environment.registerOperator(`${name} == null`, () => false);
  for (const [name, type] of Object.entries(known)) environment.registerVariable(name, type);
  return (text) => {
    try {
      const checked = environment.parse(text).check();
      if (checked.valid) return { type: checked.type ?? 'dyn' };
      return { problem: celProblem(text, checked.error ?? {}) };
    } catch (error) {
      // What is no expression is refused when the policy is validated, with a better word for it.
      return {
        problem: celProblem(text, { summary: error instanceof Error ? error.message : String(error) }),
      };
    }
  };
}

function withoutKnown(
  variables: Readonly<Record<string, VariableType>>,
  known: Readonly<Record<string, string>>,
): Readonly<Record<string, VariableType>> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !Object.hasOwn(known, name)));
}
