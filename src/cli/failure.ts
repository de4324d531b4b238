/** What a user reads when a command fails: the message with its causes; a stack only for bugs. */
export function renderFailure(error: unknown): string {
  if (!(error instanceof Error)) return `fairlead: ${String(error)}\n`;
  const lines = [`fairlead: ${error.message}`];
  let cause = error.cause;
  while (cause instanceof Error && lines.length < causesMax) {
    lines.push(`  because: ${cause.message}`);
    cause = cause.cause;
  }
  const isBug =
    error.name === 'AssertionFailure' || error instanceof TypeError || error instanceof RangeError;
  if (isBug && error.stack !== undefined) lines.push(error.stack);
  return `${lines.join('\n')}\n`;
}

const causesMax = 8;
