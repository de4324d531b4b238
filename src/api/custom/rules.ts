import type { FieldError } from '../kind.ts';
import type { JsonObject } from '../object.ts';

/** The x-kubernetes-validations of a schema. */
export type Rules = {
  /** Rules that look at the object alone. */
  validate(object: JsonObject, old: JsonObject | undefined): readonly FieldError[];
  /** Rules that compare with what was there (`oldSelf`). */
  validateTransition(object: JsonObject, old: JsonObject): readonly FieldError[];
};

export function compileRules(_schema: JsonObject): Rules {
  return { validate: () => [], validateTransition: () => [] };
}
