import type { CriResponse } from './cri.ts';
import { runtimeLabels } from './sandbox-config.ts';

/** What a container, a Pod or the node has used: the kubelet's /stats/summary, as far as others build upon it. */
type Usage = {
  readonly cpu: { readonly time: string; readonly usageCoreNanoSeconds: number };
  readonly memory: { readonly time: string; readonly workingSetBytes: number };
};

export type StatsSummary = {
  readonly node: { readonly nodeName: string } & Usage;
  readonly pods: readonly ({
    readonly podRef: { readonly name: string; readonly namespace: string; readonly uid: string };
    readonly containers: readonly ({ readonly name: string } & Usage)[];
  } & Usage)[];
};

type Stats = CriResponse<'listContainerStats'>['stats'];

/**
 * Kubernetes' summary out of the runtime's statistics. Of a container that was started again the newest counts; one that
 * does not run has none. A node is what its Pods use: several nodes share one machine.
 */
export function statsSummary(nodeName: string, stats: Stats, nowMs: number): StatsSummary {
  const byPod = Map.groupBy(
    newest(stats),
    ({ attributes }) => attributes?.labels[runtimeLabels.podUid] ?? '',
  );
  const pods = [...byPod].map(([uid, members]) => {
    const labels = members[0]?.attributes?.labels ?? {};
    const containers = members.map((stat) => ({
      name: stat.attributes?.labels[runtimeLabels.container] ?? '',
      ...usageOf(stat),
    }));
    const name = labels[runtimeLabels.podName] ?? '';
    const podRef = { name, namespace: labels[runtimeLabels.podNamespace] ?? '', uid };
    return { podRef, containers, ...sum(containers, nowMs) };
  });
  return { node: { nodeName, ...sum(pods, nowMs) }, pods };
}

function newest(stats: Stats): Stats {
  const byName = new Map<string, Stats[number]>();
  const attemptOf = (stat: Stats[number]): number => stat.attributes?.metadata?.attempt ?? 0;
  for (const stat of stats) {
    const labels = stat.attributes?.labels ?? {};
    const uid = labels[runtimeLabels.podUid];
    if (uid === undefined || stat.cpu?.usageCoreNanoSeconds === undefined) continue;
    const key = `${uid}/${labels[runtimeLabels.container] ?? ''}`;
    const other = byName.get(key);
    if (other === undefined || attemptOf(other) < attemptOf(stat)) byName.set(key, stat);
  }
  return [...byName.values()];
}

function usageOf({ cpu, memory }: Stats[number]): Usage {
  return {
    cpu: { time: timeOf(cpu?.timestamp ?? 0), usageCoreNanoSeconds: cpu?.usageCoreNanoSeconds?.value ?? 0 },
    memory: { time: timeOf(memory?.timestamp ?? 0), workingSetBytes: memory?.workingSetBytes?.value ?? 0 },
  };
}

/** Nanoseconds since the epoch, as the runtime counts. */
function timeOf(nanoseconds: number): string {
  return new Date(nanoseconds / 1e6).toISOString();
}

function sum(parts: readonly Usage[], nowMs: number): Usage {
  const time = new Date(nowMs).toISOString();
  return {
    cpu: {
      time,
      usageCoreNanoSeconds: parts.reduce((total, { cpu }) => total + cpu.usageCoreNanoSeconds, 0),
    },
    memory: { time, workingSetBytes: parts.reduce((total, { memory }) => total + memory.workingSetBytes, 0) },
  };
}
