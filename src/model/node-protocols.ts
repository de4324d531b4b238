import type { Node } from '../api/gen/core-v1.ts';

/**
 * Type of the Node condition by which a service proxy tells what its node cannot do: True where ports of protocol SCTP are not
 * served there. A node without it is taken to serve them, as where another proxy runs.
 */
export const sctpUnavailableCondition = 'SCTPUnavailable';

/** Why the node does not serve SCTP; undefined: it does, as far as anybody has said. */
export function sctpLackOf(node: Node): string | undefined {
  const told = node.status?.conditions?.find(({ type }) => type === sctpUnavailableCondition);
  return told?.status === 'True' ? (told.message ?? '') : undefined;
}
