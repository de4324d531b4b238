import { numberAt, objectAt, objectsAt, stringAt } from '../../api/fields.ts';
import type { Json, JsonObject } from '../../api/object.ts';

/** From counters to rates: two summaries of a kubelet (/stats/summary) become what was used between them. Pure. */

/** One container at one moment. */
export type Sample = {
  readonly timeMs: number;
  readonly cpuNanoSeconds: number;
  readonly workingSetBytes: number;
};

/** By `namespace/pod`, then by the container's name. */
export type Samples = ReadonlyMap<string, ReadonlyMap<string, Sample>>;

export type ContainerUsage = {
  readonly name: string;
  /** Billionths of a core. */
  readonly nanoCores: number;
  readonly workingSetBytes: number;
};

export type PodUsage = {
  readonly timeMs: number;
  readonly windowMs: number;
  readonly containers: readonly ContainerUsage[];
};

/** Reads a kubelet's summary. What is not in it is not there. */
export function samplesOf(summary: Json): Samples {
  const pods = objectsAt(summary, 'pods').map((pod) => {
    const key = `${stringAt(pod, 'podRef', 'namespace')}/${stringAt(pod, 'podRef', 'name')}`;
    const containers = objectsAt(pod, 'containers').flatMap((container) => {
      const sample = sampleOf(container);
      return sample === undefined ? [] : [[stringAt(container, 'name'), sample] as const];
    });
    return [key, new Map(containers)] as const;
  });
  return new Map(pods);
}

function sampleOf(container: JsonObject): Sample | undefined {
  const cpu = objectAt(container, 'cpu');
  const timeMs = Date.parse(stringAt(cpu, 'time'));
  const cpuNanoSeconds = numberAt(cpu, 'usageCoreNanoSeconds');
  const workingSetBytes = numberAt(container, 'memory', 'workingSetBytes');
  if (Number.isNaN(timeMs) || cpuNanoSeconds === undefined || workingSetBytes === undefined) return undefined;
  return { timeMs, cpuNanoSeconds, workingSetBytes };
}

/** Whether something runs now that did not, or began anew. */
export function hasNewContainers(before: Samples, now: Samples): boolean {
  for (const [key, containers] of now) {
    for (const [name, sample] of containers) {
      const earlier = before.get(key)?.get(name);
      if (earlier === undefined || sample.cpuNanoSeconds < earlier.cpuNanoSeconds) return true;
    }
  }
  return false;
}

/**
 * What each Pod used between two moments. A Pod of which a container was not measured twice, or began anew meanwhile, is
 * left out: half of it would look like all.
 */
export function usageBetween(before: Samples, now: Samples): ReadonlyMap<string, PodUsage> {
  const usage = new Map<string, PodUsage>();
  for (const [key, containers] of now) {
    const earlier = before.get(key);
    if (earlier === undefined || containers.size === 0) continue;
    const found = [...containers].map(([name, sample]) => rateOf(name, earlier.get(name), sample));
    const whole = found.filter((rate) => rate !== undefined);
    if (whole.length < found.length) continue;
    usage.set(key, {
      timeMs: Math.max(...whole.map(({ timeMs }) => timeMs)),
      windowMs: Math.max(...whole.map(({ windowMs }) => windowMs)),
      containers: whole.map(({ usage: one }) => one),
    });
  }
  return usage;
}

function rateOf(name: string, before: Sample | undefined, now: Sample) {
  if (before === undefined || now.timeMs <= before.timeMs || now.cpuNanoSeconds < before.cpuNanoSeconds) {
    return undefined;
  }
  const windowMs = now.timeMs - before.timeMs;
  const nanoCores = Math.round(((now.cpuNanoSeconds - before.cpuNanoSeconds) / windowMs) * 1000);
  const usage: ContainerUsage = { name, nanoCores, workingSetBytes: now.workingSetBytes };
  return { timeMs: now.timeMs, windowMs, usage };
}

/** What all Pods of a node use together. */
export function totalOf(pods: Iterable<PodUsage>): Omit<ContainerUsage, 'name'> {
  const total = { nanoCores: 0, workingSetBytes: 0 };
  for (const { containers } of pods) {
    for (const { nanoCores, workingSetBytes } of containers) {
      total.nanoCores += nanoCores;
      total.workingSetBytes += workingSetBytes;
    }
  }
  return total;
}

/** As metrics.k8s.io writes it. */
export function usageText({ nanoCores, workingSetBytes }: Omit<ContainerUsage, 'name'>): JsonObject {
  return { cpu: `${nanoCores}n`, memory: `${Math.round(workingSetBytes / 1024)}Ki` };
}
