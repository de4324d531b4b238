import type { Lease } from '../api/gen/coordination-v1.ts';
import type { Node } from '../api/gen/core-v1.ts';
import { leases, nodes } from '../api/resource.ts';
import { type Clock, rfc3339Micro } from '../base/clock.ts';
import { withDeadline } from '../base/deadline.ts';
import type { Logger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import { compileNode, compileNodeStatus, type NodeInput, nodeLabels } from './node-object.ts';

const leaseNamespace = 'kube-node-lease';
/** How long the node counts as alive after a renewal. Kubernetes' own number. */
const leaseDurationSecondsDefault = 40;
/** Renewals within that time: two may be lost. */
const renewalsPerDuration = 4;
/** After a call that failed, ms. */
const retryMs = 200;

/** Makes the Node object exist with our labels; waits for the API server as long as it takes. */
export async function registerNode(
  client: ApiClient,
  input: Pick<NodeInput, 'name' | 'labels' | 'machine'>,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<Node> {
  while (true) {
    try {
      return await createOrUpdate(client, input, signal);
    } catch (error) {
      signal.throwIfAborted();
      log.warn('node could not be registered, trying again', { error });
      await clock.sleep(retryMs, signal);
    }
  }
}

async function createOrUpdate(
  client: ApiClient,
  input: Pick<NodeInput, 'name' | 'labels' | 'machine'>,
  signal: AbortSignal,
): Promise<Node> {
  try {
    return await client.create(nodes, compileNode(input), { signal });
  } catch (error) {
    if (!isApiError(error, 'AlreadyExists')) throw error;
    const body = { metadata: { labels: nodeLabels(input) } };
    return client.patch(nodes, undefined, input.name, 'merge', body, { signal });
  }
}

/**
 * A heartbeat without an answer by then is given up for the next, ms: as long as the kubelet of Kubernetes waits. The API client's own
 * limit is three times that, and a node that waited so long for one lost answer would be missed.
 */
const heartbeatTimeoutMs = 10_000;

/** Writes the whole Node.status. Returns the Node as it is then. */
export async function writeNodeStatus(
  client: ApiClient,
  input: NodeInput,
  known: Node | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Node> {
  const { addresses = [], ...status } = compileNodeStatus(input, known?.status);
  // Strategic: conditions that others write stay. Addresses are merged by type, of which a node may have two of one.
  const body = { status: { ...status, addresses: [...addresses, { $patch: 'replace' }] } };
  return withDeadline(clock, heartbeatTimeoutMs, signal, (within) =>
    client.patch(nodes, undefined, input.name, 'strategic', body, { subresource: 'status', signal: within }),
  );
}

/**
 * Renews the node's Lease until the signal aborts, `renewalsPerDuration` times in its duration. A renewal has until the next one is due;
 * after one that failed the next comes sooner.
 */
export async function runLease(
  client: Pick<ApiClient, 'patch' | 'create'>,
  node: Node,
  {
    leaseDurationSeconds = leaseDurationSecondsDefault,
  }: { readonly leaseDurationSeconds?: number | undefined },
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const renewalMs = (leaseDurationSeconds * 1000) / renewalsPerDuration;
  const timeoutMs = Math.min(renewalMs, heartbeatTimeoutMs);
  let pauseMs = retryMs;
  while (!signal.aborted) {
    // From start to start: an answer that took long must not make the next renewal late.
    let nextAtMs = clock.monotonicMs() + renewalMs;
    try {
      await withDeadline(clock, timeoutMs, signal, (within) =>
        renew(client, node, leaseDurationSeconds, clock.nowMs(), within),
      );
      pauseMs = retryMs;
    } catch (error) {
      if (signal.aborted) return;
      log.warn('node lease could not be renewed', { error });
      nextAtMs = clock.monotonicMs() + pauseMs;
      pauseMs = Math.min(pauseMs * 2, renewalMs);
    }
    await clock.sleep(Math.max(0, nextAtMs - clock.monotonicMs()), signal).catch(() => {}); // aborted: the loop ends
  }
}

async function renew(
  client: Pick<ApiClient, 'patch' | 'create'>,
  node: Node,
  leaseDurationSeconds: number,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  const name = node.metadata?.name ?? '';
  const renewTime = rfc3339Micro(nowMs);
  try {
    const spec = { renewTime, leaseDurationSeconds };
    await client.patch(leases, leaseNamespace, name, 'merge', { spec }, { signal });
  } catch (error) {
    if (!isApiError(error, 'NotFound')) throw error;
    const owner = { apiVersion: 'v1', kind: 'Node', name, uid: node.metadata?.uid ?? '' };
    const lease: Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace: leaseNamespace, ownerReferences: [owner] },
      spec: { holderIdentity: name, leaseDurationSeconds, renewTime },
    };
    await client.create(leases, lease, { signal });
  }
}
