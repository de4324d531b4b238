import { createHash } from 'node:crypto';
import { watch } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../api/gen/core-v1.ts';
import { isJsonObject } from '../api/object.ts';
import { nodes, pods } from '../api/resource.ts';
import type { Clock } from '../base/clock.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { type ApiClient, isApiError } from '../client/client.ts';
import type { Cri } from './cri.ts';
import { mirrorAnnotation } from './pod-manager.ts';
import { processAnnotation, runProcessPod } from './process-pods.ts';

export type StaticPodDeps = {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly cri: Cri;
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  /** Folder of *.json files, one Pod each. */
  readonly dir: string;
  readonly processStateDir: string;
};

/** Static Pods at once; files past it are reported and left alone. */
const staticPodsMax = 64;
/** Between tries to publish a mirror Pod, ms. */
const retryMs = 200;
/** An editor's burst of writes counts as one change, ms. */
const settleMs = 50;

/**
 * Publishes the Pods of the static Pod folder as mirror Pods and keeps their status. Only Pods that stand for a process
 * of the supervisor (annotation fairlead.dev/process) are known; others are reported and left alone.
 */
export async function runStaticPods(deps: StaticPodDeps, signal: AbortSignal): Promise<void> {
  const running = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>(); // by mirror hash
  await Promise.all([deps.dir, deps.processStateDir].map((dir) => mkdir(dir, { recursive: true })));
  const watcher = watchDir(deps.dir);
  try {
    while (!signal.aborted) {
      const changed = watcher.next();
      const wanted = await readStaticPods(deps);
      for (const [hash, entry] of running) {
        if (wanted.has(hash)) continue;
        entry.stop.abort();
        await entry.done;
        running.delete(hash);
      }
      for (const [hash, pod] of wanted) {
        if (running.has(hash)) continue;
        const stop = new AbortController();
        running.set(hash, {
          stop,
          done: runMirror(deps, pod, AbortSignal.any([signal, stop.signal]), signal),
        });
      }
      await Promise.race([changed, aborted(signal)]);
      await deps.clock.sleep(settleMs, signal).catch(() => {}); // aborted: the loop ends
    }
  } finally {
    watcher.close();
    await Promise.all([...running.values()].map(({ done }) => done));
  }
}

function watchDir(dir: string): { next(): Promise<void>; close(): void } {
  let changed = Promise.withResolvers<void>();
  const watcher = watch(dir, () => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  });
  watcher.on('error', () => {}); // the folder is gone: what runs goes on
  return { next: () => changed.promise, close: () => watcher.close() };
}

async function readStaticPods(deps: StaticPodDeps): Promise<ReadonlyMap<string, Pod>> {
  const wanted = new Map<string, Pod>();
  const names = (await readdir(deps.dir))
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .toSorted();
  for (const name of names.slice(0, staticPodsMax)) {
    try {
      const text = await readFile(join(deps.dir, name), 'utf8');
      const parsed: unknown = JSON.parse(text);
      if (!isJsonObject(parsed)) throw new Error('it is not a JSON object');
      const pod = parsed as Pod;
      if (pod.metadata?.annotations?.[processAnnotation] === undefined) {
        throw new Error(
          `it has no annotation ${processAnnotation}; static Pods in containers are not supported`,
        );
      }
      const hash = createHash('sha256').update(text).digest('hex').slice(0, 32);
      wanted.set(hash, toMirror(pod, hash, deps.nodeName));
    } catch (error) {
      deps.log.error('static Pod file cannot be used', { file: join(deps.dir, name), error });
    }
  }
  if (names.length > staticPodsMax)
    deps.log.error('too many static Pod files', { dir: deps.dir, staticPodsMax });
  return wanted;
}

/** Named after its node, as Kubernetes does it. */
function toMirror(pod: Pod, hash: string, nodeName: string): Pod {
  return {
    ...pod,
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...pod.metadata,
      name: `${pod.metadata?.name}-${nodeName}`,
      namespace: pod.metadata?.namespace ?? 'default',
      annotations: {
        ...pod.metadata?.annotations,
        'kubernetes.io/config.hash': hash,
        'kubernetes.io/config.source': 'file',
        [mirrorAnnotation]: hash,
      },
    },
    spec: { ...pod.spec, containers: pod.spec?.containers ?? [], nodeName },
  };
}

async function runMirror(
  deps: StaticPodDeps,
  pod: Pod,
  signal: AbortSignal,
  agentSignal: AbortSignal,
): Promise<void> {
  let object: Pod | undefined;
  while (!signal.aborted) {
    try {
      object = await publishMirror(deps, pod, signal);
      await runProcessPod(deps, object, signal); // returns when the mirror is gone from the API
    } catch (error) {
      if (signal.aborted) break;
      deps.log.warn('mirror Pod could not be published, trying again', { pod: pod.metadata?.name, error });
    }
    await deps.clock.sleep(retryMs, signal).catch(() => {}); // aborted: the loop ends
  }
  if (!agentSignal.aborted && object !== undefined) await removeMirror(deps, object);
}

/** The mirror in the API; an older one of the same name, or one whose deletion was asked for, is replaced. */
async function publishMirror(deps: StaticPodDeps, pod: Pod, signal: AbortSignal): Promise<Pod> {
  const node = await deps.client.get(nodes, undefined, deps.nodeName, signal);
  const owner = {
    apiVersion: 'v1',
    kind: 'Node',
    name: deps.nodeName,
    uid: node.metadata?.uid ?? '',
    controller: true,
  };
  const owned = { ...pod, metadata: { ...pod.metadata, ownerReferences: [owner] } };
  try {
    return await deps.client.create(pods, owned, { signal });
  } catch (error) {
    if (!isApiError(error, 'AlreadyExists')) throw error;
  }
  const { namespace, name = '' } = pod.metadata ?? {};
  const present = await deps.client.get(pods, namespace, name, signal);
  const isSame =
    present.metadata?.annotations?.[mirrorAnnotation] === pod.metadata?.annotations?.[mirrorAnnotation];
  if (isSame && present.metadata?.deletionTimestamp === undefined) return present;
  await removeMirror(deps, present);
  return deps.client.create(pods, owned, { signal });
}

async function removeMirror(deps: StaticPodDeps, pod: Pod): Promise<void> {
  const { namespace, name = '', uid } = pod.metadata ?? {};
  try {
    await deps.client.delete(pods, namespace, name, { gracePeriodSeconds: 0, uid });
  } catch (error) {
    if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) {
      deps.log.warn('mirror Pod could not be removed', { pod: name, error });
    }
  }
}
