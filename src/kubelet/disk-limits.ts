import type { Container, Pod, Volume } from '../api/gen/core-v1.ts';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  type Quantity,
} from '../api/quantity.ts';
import { isSidecar } from './plan.ts';
import { unitsOf } from './resources.ts';

/**
 * Which Pod uses more of the node's disk than it may. Pure.
 * https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#resource-emphemeralstorage-consumption
 */

/** What a Pod has on the node's disk, bytes. What was not measured is not in it. */
export type DiskUsage = {
  /** By the volume's name. */
  readonly volumes: ReadonlyMap<string, number>;
  /** Writable layer and logs together, by the container's name. */
  readonly containers: ReadonlyMap<string, number>;
};

const ephemeralStorage = 'ephemeral-storage';

/** Whether any container has a limit of its local disk; all of the Pod counts then. */
export function limitsEphemeralStorage(pod: Pod): boolean {
  return allContainers(pod).some(({ resources }) => resources?.limits?.[ephemeralStorage] !== undefined);
}

/** The volumes whose size decides something: with limits of containers all that are on the disk, else those with a limit. */
export function measuredVolumes(pod: Pod): readonly string[] {
  const all = limitsEphemeralStorage(pod);
  return (pod.spec?.volumes ?? [])
    .filter((volume) => (all ? isOnDisk(volume) : sizeLimitOf(volume) !== undefined))
    .map(({ name }) => name);
}

/** Why the Pod must leave: Kubernetes' own words, in its own order. Undefined: it is within its limits. */
export function diskLimitExceeded(pod: Pod, usage: DiskUsage): string | undefined {
  return volumeProblem(pod, usage) ?? podProblem(pod, usage) ?? containerProblem(pod, usage);
}

function volumeProblem(pod: Pod, { volumes }: DiskUsage): string | undefined {
  for (const volume of pod.spec?.volumes ?? []) {
    const limit = sizeLimitOf(volume);
    if (limit === undefined || (volumes.get(volume.name) ?? 0) <= unitsOf(limit)) continue;
    return `Usage of EmptyDir volume ${quoted(volume.name)} exceeds the limit ${quoted(canonicalQuantity(limit))}. `;
  }
  return undefined;
}

function podProblem(pod: Pod, { volumes, containers }: DiskUsage): string | undefined {
  const limit = podLimitOf(pod);
  if (limit === undefined) return undefined;
  const used = [...volumes.values(), ...containers.values()].reduce((sum, bytes) => sum + bytes, 0);
  const shown = formatQuantity(limit);
  if (used <= unitsOf(shown)) return undefined;
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${shown}. `;
}

function containerProblem(pod: Pod, { containers }: DiskUsage): string | undefined {
  for (const { name, resources } of allContainers(pod)) {
    const limit = resources?.limits?.[ephemeralStorage] ?? '0';
    const limitBytes = unitsOf(limit);
    if (limitBytes === 0 || (containers.get(name) ?? 0) <= limitBytes) continue;
    return `Container ${name} exceeded its local ephemeral storage limit ${quoted(canonicalQuantity(limit))}. `;
  }
  return undefined;
}

/**
 * What all containers may have together, where one has a limit: the main ones and the sidecars, or more where an init
 * container may have more. As Kubernetes does, one without a limit adds nothing.
 */
function podLimitOf(pod: Pod): Quantity | undefined {
  let sidecars: Quantity | undefined;
  let initMost: Quantity | undefined;
  for (const container of pod.spec?.initContainers ?? []) {
    const limit = limitOf(container);
    if (isSidecar(container)) sidecars = sum(sidecars, limit);
    initMost = larger(initMost, isSidecar(container) ? sidecars : sum(sidecars, limit));
  }
  const main = (pod.spec?.containers ?? []).reduce<Quantity | undefined>(
    (total, container) => sum(total, limitOf(container)),
    undefined,
  );
  const limit = larger(sum(main, sidecars), initMost);
  const overhead = parseQuantity(pod.spec?.overhead?.[ephemeralStorage] ?? '0');
  return limit === undefined ? undefined : sum(limit, overhead);
}

function limitOf({ resources }: Container): Quantity | undefined {
  const limit = resources?.limits?.[ephemeralStorage];
  return limit === undefined ? undefined : parseQuantity(limit);
}

function sum(a: Quantity | undefined, b: Quantity | undefined): Quantity | undefined {
  return a === undefined || b === undefined ? (a ?? b) : addQuantities(a, b);
}

function larger(a: Quantity | undefined, b: Quantity | undefined): Quantity | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareQuantities(a, b) < 0 ? b : a;
}

function allContainers(pod: Pod): readonly Container[] {
  return [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
}

/** Of a folder on the disk: a tmpfs cannot outgrow its size. 0 is no limit. */
function sizeLimitOf({ emptyDir }: Volume): string | undefined {
  const { medium = '', sizeLimit } = emptyDir ?? {};
  return medium === '' && sizeLimit !== undefined && unitsOf(sizeLimit) > 0 ? sizeLimit : undefined;
}

/** What Kubernetes counts as a Pod's own on the disk. */
function isOnDisk(volume: Volume): boolean {
  if (volume.emptyDir !== undefined) return (volume.emptyDir.medium ?? '') === '';
  if (volume.configMap !== undefined || volume.downwardAPI !== undefined) return true;
  // A volume without any source is an emptyDir.
  return Object.entries(volume).every(([key, value]) => key === 'name' || value === undefined);
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
