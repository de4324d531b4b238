const line = /(\r\nmax-forwards:[ \t]*)([0-9]+)(?=[ \t]*\r\n)/gi;

/**
 * The head of an OPTIONS request as it goes on from here: each Max-Forwards one less (RFC 9110 §7.6.2). undefined: it must go no
 * further, and we answer for whoever it was meant for. What is no number says nothing.
 */
export function countForward(text: string): string | undefined {
  let isLast = false;
  const next = text.replace(line, (_, name: string, digits: string) => {
    const left = Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
    if (left === 0) isLast = true;
    return `${name}${left - 1}`;
  });
  return isLast ? undefined : next;
}
