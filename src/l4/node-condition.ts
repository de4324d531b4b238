import type { Node, NodeCondition } from '../api/gen/core-v1.ts';
import { nodes } from '../api/resource.ts';
import { type Clock, rfc3339 } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { sctpUnavailableCondition } from '../model/node-protocols.ts';
import type { SctpLack } from './dataplane.ts';

/** What the node's condition is made of, and who writes it. */
export type ConditionSources = {
  readonly client: Pick<ApiClient, 'patch'>;
  readonly clock: Clock;
  /** How often it is looked at, ms: a kernel may learn SCTP by a module. */
  readonly intervalMs: number;
  /** undefined: there is no such Node yet. */
  readonly node: () => Node | undefined;
  /** Resolves once the data plane works. */
  readonly lack: () => Promise<SctpLack | undefined>;
};

/**
 * Tells by a condition of the Node that it serves no SCTP, and takes it back. Ends without error where the proxy may not write
 * the status of nodes, which the log says: then Events tell it alone.
 */
export async function runNodeCondition(
  { client, clock, intervalMs, node, lack }: ConditionSources,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const stopped = aborted(signal).then(() => 'stopped' as const);
  while (!signal.aborted) {
    const now = await Promise.race([lack(), stopped]);
    if (now === 'stopped') return;
    const known = node();
    const condition = known === undefined ? undefined : planNodeCondition(known, now, rfc3339(clock.nowMs()));
    if (condition !== undefined) {
      try {
        // Strategic: conditions of others stay.
        const body = { status: { conditions: [condition] } };
        const name = known?.metadata?.name ?? '';
        await client.patch(nodes, undefined, name, 'strategic', body, { subresource: 'status', signal });
      } catch (error) {
        if (signal.aborted) return;
        if (isApiError(error, 'Forbidden')) {
          log.warn('that this node serves no SCTP is told by Events alone', { error });
          return;
        }
        log.warn('the node’s condition could not be written, it is tried again', { error });
      }
    }
    await clock.sleep(intervalMs, signal).catch(() => {}); // aborted: the loop ends
  }
}

/** The condition as it should be; undefined: it is so. A node that serves SCTP and never said otherwise needs none. */
export function planNodeCondition(
  node: Node,
  lack: SctpLack | undefined,
  nowText: string,
): NodeCondition | undefined {
  const old = node.status?.conditions?.find(({ type }) => type === sctpUnavailableCondition);
  if (old === undefined && lack === undefined) return undefined;
  const wanted =
    lack === undefined
      ? { status: 'False', reason: 'SCTPServed', message: 'the service proxy serves SCTP' }
      : { status: 'True', ...lack };
  if (old?.status === wanted.status && old.reason === wanted.reason && old.message === wanted.message) {
    return undefined;
  }
  const lastTransitionTime = old?.status === wanted.status ? old.lastTransitionTime : nowText;
  return { type: sctpUnavailableCondition, ...wanted, lastHeartbeatTime: nowText, lastTransitionTime };
}
