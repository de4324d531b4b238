import type { Node, Pod } from '../api/gen/core-v1.ts';
import { type KubeObject, keyOf, type ObjectKey } from '../api/object.ts';
import { nodes, pods, type Resource } from '../api/resource.ts';
import type { ApiClient, ListOptions } from '../client/client.ts';
import { systemNamespace } from './addons.ts';
import { type ClusterConfig, nodesOf } from './config.ts';

type Conditioned = {
  readonly status?:
    | { readonly conditions?: readonly { readonly type: string; readonly status: string }[] | undefined }
    | undefined;
};

export function isReady(object: Conditioned): boolean {
  return (
    object.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
  );
}

/** Names of nodes that are not registered and Ready. */
export function nodesMissing(config: ClusterConfig, present: Iterable<Node>): readonly string[] {
  const ready = new Set([...present].filter(isReady).map(({ metadata }) => metadata?.name));
  return nodesOf(config)
    .map(({ name }) => name)
    .filter((name) => !ready.has(name));
}

/** System Pods (by process) that are not Ready. */
export function systemPodsMissing(present: Iterable<Pod>): readonly string[] {
  const ready = new Set(
    [...present].filter(isReady).map(({ metadata }) => metadata?.annotations?.['fairlead.dev/process']),
  );
  return ['dns', 'ingress'].filter((process) => !ready.has(process));
}

/** Lists, then watches until `missing` finds nothing. `waiting` is told what is still missing, for error messages. */
async function watchUntil<T extends KubeObject>(
  api: ApiClient,
  resource: Resource<T>,
  options: ListOptions & { readonly signal: AbortSignal },
  missing: (present: Iterable<T>) => readonly string[],
  waiting: (names: readonly string[]) => void,
): Promise<void> {
  while (true) {
    options.signal.throwIfAborted();
    const list = await api.list(resource, options);
    const present = new Map<ObjectKey, T>(list.items.map((item) => [keyOf(item), item]));
    const report = (): boolean => {
      const names = missing(present.values());
      waiting(names);
      return names.length === 0;
    };
    if (report()) return;
    for await (const event of api.watch(resource, list.resourceVersion, options)) {
      if (event.type === 'BOOKMARK') continue;
      if (event.type === 'DELETED') present.delete(keyOf(event.object));
      else present.set(keyOf(event.object), event.object);
      if (report()) return;
    }
  }
}

export async function waitForNodes(
  api: ApiClient,
  config: ClusterConfig,
  waiting: (names: readonly string[]) => void,
  signal: AbortSignal,
): Promise<void> {
  await watchUntil(api, nodes, { signal }, (present) => nodesMissing(config, present), waiting);
}

export async function waitForSystemPods(
  api: ApiClient,
  waiting: (names: readonly string[]) => void,
  signal: AbortSignal,
): Promise<void> {
  await watchUntil(api, pods, { namespace: systemNamespace, signal }, systemPodsMissing, waiting);
}
