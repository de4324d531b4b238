import { readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { posix } from 'node:path';
import type { Logger } from '../base/log.ts';
import type { ClusterConfig } from './config.ts';
import { removeHostLink } from './host-names.ts';
import { unmountBelow } from './mounts.ts';
import { removeNetwork, runTool } from './network.ts';
import { removeShimSockets } from './shim-sockets.ts';

/** How long killed processes may take until the kernel is done with them. */
export const killTimeoutMs = 10_000;
const pollMs = 10;
/** Where containerd's CNI library keeps the results of network set-ups; its place cannot be configured. */
const cniResults = '/var/lib/cni/results';

/** Every process that carries the cluster's mark in its environment: ours, containerd and its shims. Never ourselves. */
export function markedProcesses(clusterName: string): readonly number[] {
  const mark = `FAIRLEAD_CLUSTER=${clusterName}`;
  return processIds().filter((pid) => {
    if (pid === process.pid || pid === process.ppid) return false;
    return (readProc(pid, 'environ') ?? '').split('\0').includes(mark);
  });
}

function processIds(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined; // it ended meanwhile, or is a kernel thread
  }
}

/** The cluster's control groups: one a controller with cgroup v1, one with v2. Some may not exist. */
export function controlGroups(clusterName: string): readonly string[] {
  const root = '/sys/fs/cgroup';
  return ['', ...subdirectories(root)]
    .map((controller) => posix.join(root, controller, 'fairlead', clusterName))
    .filter((dir) => subdirectories(dir).length > 0 || exists(posix.join(dir, 'cgroup.procs')));
}

function exists(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

function subdirectories(dir: string): readonly string[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

function processesOfGroup(dir: string): readonly number[] {
  const own = readFileOrEmpty(posix.join(dir, 'cgroup.procs'))
    .split('\n')
    .filter((line) => line !== '');
  return [
    ...own.map(Number),
    ...subdirectories(dir).flatMap((name) => processesOfGroup(posix.join(dir, name))),
  ];
}

function readFileOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function removeGroup(dir: string): void {
  for (const name of subdirectories(dir)) removeGroup(posix.join(dir, name));
  try {
    rmdirSync(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Busy: a dying process is still in it; the caller comes again.
    if (code !== 'ENOENT' && code !== 'EBUSY') throw error;
  }
}

/**
 * Ends every process of a cluster, containers too, and removes its mounts, namespaces, control groups and files. Works on
 * whatever is left after any crash, twice does no harm. Data that is not ours in the data directory stays.
 */
export async function removeEverything(config: ClusterConfig, log: Logger): Promise<void> {
  await killAll(config.name, log);
  unmountBelow(config.runDir);
  unmountBelow(config.dataDir);
  await removeHostLink(config.name);
  await removeNetwork(config.name);
  await removeControlGroups(config.name);
  removeCniResults(config);
  removeShimSockets(config.runDir);
  await removeFiles(config);
}

async function killAll(clusterName: string, log: Logger): Promise<void> {
  const deadline = performance.now() + killTimeoutMs;
  let first = true;
  while (true) {
    // Marked ones first: a living shim or containerd might start something new.
    const pids = new Set([
      ...markedProcesses(clusterName),
      ...controlGroups(clusterName).flatMap(processesOfGroup),
    ]);
    if (pids.size === 0) return;
    if (performance.now() > deadline) {
      throw new Error(
        `processes ${[...pids].join(', ')} do not end although they were killed; see \`ps -o pid,stat,args\``,
      );
    }
    if (first) log.info('ending processes', { count: pids.size });
    first = false;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    await sleep(pollMs);
  }
}

async function removeControlGroups(clusterName: string): Promise<void> {
  const deadline = performance.now() + killTimeoutMs;
  while (true) {
    const groups = controlGroups(clusterName);
    for (const dir of groups) removeGroup(dir);
    if (controlGroups(clusterName).length === 0) break;
    if (performance.now() > deadline)
      throw new Error(`cannot remove the control groups ${groups.join(', ')}`);
    await sleep(pollMs);
  }
  // The common parent goes with the last cluster.
  for (const dir of ['', ...subdirectories('/sys/fs/cgroup')])
    removeIfEmpty(posix.join('/sys/fs/cgroup', dir, 'fairlead'));
}

function removeCniResults(config: ClusterConfig): void {
  let names: readonly string[];
  try {
    names = readdirSync(cniResults);
  } catch {
    return; // never used on this machine
  }
  for (const name of names) {
    const file = posix.join(cniResults, name);
    // Each Pod has two: that of our network, and one of containerd's own loopback network.
    if (readFileOrEmpty(file).includes(`"${config.runDir}/`)) rmSync(file, { force: true });
  }
  removeIfEmpty(cniResults);
  removeIfEmpty(posix.dirname(cniResults));
}

async function removeFiles(config: ClusterConfig): Promise<void> {
  const ours = [
    'pki',
    'kubeconfig',
    'kubeconfig.yaml',
    'store',
    'nodes',
    'logs',
    'registries',
    'cluster.json',
    'resolv.conf',
  ];
  // rm(1) removes an unpacked image's ten thousand files several times faster than fs.rm.
  await runTool(
    'rm',
    ['-rf', '--', config.runDir, ...ours.map((name) => posix.join(config.dataDir, name))],
    '',
  );
  removeIfEmpty(config.dataDir);
  removeIfEmpty(posix.dirname(config.runDir));
  if (posix.basename(posix.dirname(config.dataDir)) === 'fairlead')
    removeIfEmpty(posix.dirname(config.dataDir));
}

/** Removes a directory; one that is gone, not empty or in use is left as it is. */
export function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EBUSY' && code !== 'EEXIST') throw error;
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
