/** A bug was found: the program's own belief does not hold. Never caught on purpose; the process ends and is restarted. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Throws AssertionFailure unless `condition` holds. For what must be true, not for bad input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(message);
}

/** Closes a switch over a union: adding a variant then breaks the build where it is not handled. */
export function unreachable(value: never): never {
  throw new AssertionFailure(`unreachable variant: ${JSON.stringify(value)}`);
}
