import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import type { Logger } from '../base/log.ts';
import { type ClusterConfig, clusterNameProblem } from './config.ts';
import { removeFromFile } from './kubeconfig.ts';
import { controlGroups, markedProcesses, removeEverything, removeIfEmpty } from './leftovers.ts';
import { isClusterNetns } from './netns.ts';
import { namedNetns } from './network.ts';
import {
  type BaseDirs,
  type ClusterState,
  forgetDataDir,
  isAlive,
  readProcessStates,
  readState,
  stateFiles,
} from './state.ts';
import { contextNameOf } from './up.ts';

/** How long the supervisor may take to stop everything in order before it is killed with the rest. */
export const orderlyStopMs = 15_000;

export type DownResult = 'removed' | 'nothing';

/**
 * Takes a cluster down: stops its processes in order, then ends what is left, containers too, and removes its namespaces,
 * mounts, control groups, files and the user's context. Works after any crash; `nothing` when there was no trace of it.
 */
export async function downCluster(
  name: string,
  dirs: BaseDirs,
  dataDir: string | undefined,
  log: Logger,
  note: (text: string) => void,
): Promise<DownResult> {
  const problem = clusterNameProblem(name);
  if (problem !== undefined) throw new Error(problem);
  const state = await stateOrTraces(name, dirs, dataDir, note);
  if (state === undefined) return 'nothing';
  await stopSupervisor(state.config);
  await removeUserContext(state, note);
  await removeEverything(state.config, log);
  forgetDataDir(name, dirs);
  removeIfEmpty(dirs.data);
  return 'removed';
}

async function stateOrTraces(
  name: string,
  dirs: BaseDirs,
  dataDir: string | undefined,
  note: (text: string) => void,
): Promise<ClusterState | undefined> {
  const runDir = posix.join(dirs.run, name);
  const usedDataDir = dataDir ?? posix.join(dirs.data, name);
  for (const file of await stateFiles(name, dirs, dataDir)) {
    try {
      const state = await readState(file);
      if (state?.config.name === name) return state;
    } catch (error) {
      note(error instanceof Error ? error.message : String(error));
    }
  }
  const traces =
    existsSync(runDir) ||
    namedNetns().some((netns) => isClusterNetns(name, netns)) ||
    markedProcesses(name).length > 0 ||
    controlGroups(name).length > 0;
  if (!traces) return undefined;
  // Nothing says how it was set up, but the names alone tell what belonged to it.
  const config: ClusterConfig = {
    name,
    agents: 0,
    published: [],
    ingressClasses: [],
    dataDir: usedDataDir,
    runDir,
    egress: 'none',
    cniBinDir: '',
    apiPort: 0,
  };
  return { config, startedAtMs: 0 };
}

async function stopSupervisor(config: ClusterConfig): Promise<void> {
  const supervisor = readProcessStates(config).get('supervisor');
  if (supervisor === undefined || !isAlive(supervisor)) return;
  process.kill(supervisor.pid, 'SIGTERM');
  const deadline = performance.now() + orderlyStopMs;
  while (isAlive(supervisor) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function removeUserContext(state: ClusterState, note: (text: string) => void): Promise<void> {
  const { merged, config } = state;
  if (merged === undefined) return;
  const names = { contextName: contextNameOf(config.name), userName: `fairlead-admin@${config.name}` };
  try {
    const removed = await removeFromFile(merged.file, names, merged);
    if (removed) note(`context ${names.contextName} taken out of ${merged.file}`);
  } catch (error) {
    // The rest of the cluster must go all the same.
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    note(`${error instanceof Error ? error.message : String(error)}${cause}`);
  }
}
