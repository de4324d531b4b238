import { readFileSync } from 'node:fs';
import type { Node } from '../api/gen/core-v1.ts';
import { nodes } from '../api/resource.ts';
import type { ApiClient } from '../client/client.ts';
import { type ClusterConfig, nodesOf, pathsOf } from './config.ts';
import { planProcesses } from './plan.ts';
import { isReady } from './ready.ts';
import {
  type BaseDirs,
  clusterNames,
  type ClusterState,
  findState,
  isAlive,
  readProcessStates,
} from './state.ts';

export type ProcessStatus = {
  readonly name: string;
  /** Undefined: not running. */
  readonly pid: number | undefined;
  readonly startedAtMs: number;
  readonly restarts: number;
  readonly residentBytes: number;
  /** Its share: memory used together with other processes is divided among them. */
  readonly proportionalBytes: number;
};

export type NodeStatus = {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly ready: boolean;
  readonly version: string;
};

export type ClusterStatus = {
  readonly state: ClusterState;
  readonly processes: readonly ProcessStatus[];
  readonly nodes: readonly NodeStatus[];
  /** What is not as it should be; empty: all is well. */
  readonly problems: readonly string[];
};

/** How long the API server may take to tell about its nodes. */
export const statusTimeoutMs = 5_000;

/** Finds out how a cluster is. Never throws for a cluster that is not well: that stands under `problems`. */
export async function clusterStatus(
  state: ClusterState,
  connect: (kubeconfig: string) => Promise<ApiClient>,
): Promise<ClusterStatus> {
  const { config } = state;
  const processes = processStatuses(config);
  const stopped = processes
    .filter(({ pid }) => pid === undefined)
    .map(({ name }) => `${name} is not running`);
  let found: readonly Node[] = [];
  let unreachable: readonly string[] = [];
  const timeout = rejectAfter(statusTimeoutMs);
  try {
    const api = await connect(pathsOf(config).adminKubeconfig);
    try {
      found = await Promise.race([listNodes(api), timeout]);
    } finally {
      api.close();
    }
  } catch (error) {
    unreachable = [
      `the API server does not answer: ${error instanceof Error ? error.message : String(error)}`,
    ];
  }
  const nodeStatuses = nodesOf(config).map(({ name, addresses }): NodeStatus => {
    const node = found.find(({ metadata }) => metadata?.name === name);
    return {
      name,
      addresses,
      ready: node !== undefined && isReady(node),
      version: node?.status?.nodeInfo?.kubeletVersion ?? '',
    };
  });
  const unready =
    unreachable.length > 0
      ? []
      : nodeStatuses.filter(({ ready }) => !ready).map(({ name }) => `node ${name} is not ready`);
  return { state, processes, nodes: nodeStatuses, problems: [...stopped, ...unreachable, ...unready] };
}

async function listNodes(api: ApiClient): Promise<readonly Node[]> {
  return (await api.list(nodes)).items;
}

async function rejectAfter(ms: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms).unref();
  });
}

function processStatuses(config: ClusterConfig): readonly ProcessStatus[] {
  const states = readProcessStates(config);
  return ['supervisor', ...planProcesses(config).map(({ name }) => name)].map((name) => {
    const state = states.get(name);
    const alive = state !== undefined && isAlive(state);
    return {
      name,
      pid: alive ? state.pid : undefined,
      startedAtMs: state?.startedAtMs ?? 0,
      restarts: state?.restarts ?? 0,
      residentBytes: alive ? memoryOf(state.pid, 'status', 'VmRSS') : 0,
      proportionalBytes: alive ? memoryOf(state.pid, 'smaps_rollup', 'Pss') : 0,
    };
  });
}

function memoryOf(pid: number, file: string, field: string): number {
  try {
    const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(
      readFileSync(`/proc/${pid}/${file}`, 'utf8'),
    );
    return Number(match?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it ended just now
  }
}

export async function listClusters(
  dirs: BaseDirs,
): Promise<readonly { readonly state: ClusterState; readonly running: boolean }[]> {
  const states = await Promise.all(clusterNames(dirs).map((name) => findState(name, dirs)));
  return states.flatMap((state) =>
    state === undefined
      ? []
      : [{ state, running: isAlive(readProcessStates(state.config).get('supervisor')) }],
  );
}

/** The state of a running or stopped cluster. Throws when there is none of that name. */
export async function requireCluster(name: string, dirs: BaseDirs): Promise<ClusterState> {
  const state = await findState(name, dirs);
  if (state !== undefined) return state;
  const others = clusterNames(dirs);
  throw new Error(
    `there is no cluster ${name}; ` +
      (others.length === 0
        ? '`fairlead up` starts one'
        : `there are: ${others.join(', ')} (name one with --name)`),
  );
}
