import type { Lease } from '../api/gen/coordination-v1.ts';
import type { Node } from '../api/gen/core-v1.ts';
import { leases, nodes } from '../api/resource.ts';
import { type Clock, rfc3339Micro } from '../base/clock.ts';
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

/** Writes the whole Node.status. Returns the Node as it is then. */
export async function writeNodeStatus(
  client: ApiClient,
  input: NodeInput,
  known: Node | undefined,
  signal: AbortSignal,
): Promise<Node> {
  const body = { status: compileNodeStatus(input, known?.status) };
  return client.patch(nodes, undefined, input.name, 'merge', body, { subresource: 'status', signal });
}

/** Renews the node's Lease until the signal aborts, `renewalsPerDuration` times in its duration. */
export async function runLease(
  client: ApiClient,
  node: Node,
  {
    leaseDurationSeconds = leaseDurationSecondsDefault,
  }: { readonly leaseDurationSeconds?: number | undefined },
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await renew(client, node, leaseDurationSeconds, clock.nowMs(), signal);
    } catch (error) {
      if (signal.aborted) return;
      log.warn('node lease could not be renewed', { error });
    }
    await clock.sleep((leaseDurationSeconds * 1000) / renewalsPerDuration, signal).catch(() => {}); // aborted: the loop ends
  }
}

async function renew(
  client: ApiClient,
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
