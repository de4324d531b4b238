import { copyFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import { openSocket } from '../base/sockets.ts';
import { type ChildHandle, type ChildSpec, type Launcher, runChild, stopLeftover } from './child.ts';
import { type ClusterConfig, pathsOf } from './config.ts';
import { createNetwork } from './network.ts';
import { type DescriptorPlan, describeDescriptor, type ProcessPlan, planProcesses } from './plan.ts';
import { inNetns, takeDescriptor } from './sockets.ts';
import { isAlive, type ProcessState, readProcessStates, startTicksOf } from './state.ts';

/** A log file that has grown beyond this is moved to `FILE.1` (one older file is kept). */
export const logBytesMax = 10 * 1024 * 1024;
export const logCheckIntervalMs = 10_000;

/** What the supervisor tells `up` while it starts. */
export type SupervisorReport = (step: string) => void;

export type SupervisorDeps = {
  readonly launcher: Launcher;
  readonly report: SupervisorReport;
  /** Resolves when keys and kubeconfigs are on disk: processes may go on then. */
  readonly credentials: Promise<void>;
  /** Runs the way out of the cluster (image pulls, DNS) until the signal aborts. */
  runGateway(config: ClusterConfig, signal: AbortSignal): Promise<void>;
};

/**
 * Runs the processes of a cluster until the signal aborts, then stops them in order. It never stops the Pods' containers.
 * Killed by SIGKILL it leaves its children running, so traffic goes on; the next supervisor adopts those that run
 * with the same arguments and gets their listening sockets back, and replaces the others.
 * Rejects when another supervisor runs this cluster, or when the network or a needed socket cannot be made.
 */
export async function runSupervisor(
  config: ClusterConfig,
  deps: SupervisorDeps,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const lock = await takeLock(config.name);
  const stopped = new AbortController();
  try {
    writeOwnState(config);
    await createNetwork(config);
    deps.report('network');
    const gateway = deps.runGateway(config, stopped.signal);
    await superviseAll(config, deps, log, signal);
    stopped.abort();
    await gateway;
  } finally {
    stopped.abort();
    rmSync(pathsOf(config).processFile('supervisor'), { force: true });
    lock.close();
  }
}

/** An abstract socket is a lock that the kernel lets go of when we die. */
async function takeLock(clusterName: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', () =>
      reject(new Error(`another supervisor already runs the cluster ${clusterName}`)),
    );
    server.listen(`\0fairlead-supervisor-${clusterName}`, resolve);
  });
  return server;
}

function writeOwnState(config: ClusterConfig): void {
  const state: ProcessState = {
    name: 'supervisor',
    pid: process.pid,
    startTicks: startTicksOf(process.pid) ?? '',
    startedAtMs: Date.now(),
    restarts: 0,
    command: ['supervisor'],
    descriptors: [],
  };
  writeFileSync(pathsOf(config).processFile('supervisor'), `${JSON.stringify(state)}\n`);
}

async function superviseAll(
  config: ClusterConfig,
  deps: SupervisorDeps,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const plans = planProcesses(config);
  const states = readProcessStates(config);
  const live = new Map([...states].filter(([name, state]) => name !== 'supervisor' && isAlive(state)));
  const wanted = new Set(plans.map(({ name }) => name));
  await Promise.all(
    [...live.values()].filter(({ name }) => !wanted.has(name)).map((state) => stopLeftover(state, log)),
  );
  const starts: {
    readonly plan: ProcessPlan;
    readonly handle: ChildHandle;
    readonly stop: AbortController;
  }[] = [];
  const rotation = setInterval(() => rotateLogs(config, wanted, log), logCheckIntervalMs);
  rotation.unref();
  try {
    for (const plan of plans) {
      const { spec, leftover } = await prepare(plan, live.get(plan.name), log);
      const stop = new AbortController();
      const handle = runChild(config, spec, deps.launcher, { gated: true, leftover }, log, stop.signal);
      starts.push({ plan, handle, stop });
    }
    deps.report('processes');
    await Promise.race([deps.credentials, aborted(signal)]);
    if (!signal.aborted) for (const { handle } of starts) handle.open();
    await aborted(signal);
  } finally {
    clearInterval(rotation);
    const stages = [...new Set(starts.map(({ plan }) => plan.stopStage))].toSorted((a, b) => a - b);
    for (const stage of stages) {
      const group = starts.filter(({ plan }) => plan.stopStage === stage);
      for (const { stop } of group) stop.abort();
      await Promise.all(group.map(({ handle }) => handle.done));
    }
    for (const { plan } of starts) rmSync(pathsOf(config).processFile(plan.name), { force: true });
  }
}

/** Makes the process's sockets, or takes them over from the leftover; a leftover that does not fit is stopped. */
async function prepare(
  plan: ProcessPlan,
  leftover: ProcessState | undefined,
  log: Logger,
): Promise<{ readonly spec: ChildSpec; readonly leftover: ProcessState | undefined }> {
  const descriptions = plan.descriptors.map(describeDescriptor);
  const taken = new Map<DescriptorPlan, number>();
  for (const descriptor of leftover === undefined ? [] : plan.descriptors) {
    const index = leftover?.descriptors.indexOf(describeDescriptor(descriptor)) ?? -1;
    const fd = index < 0 || leftover === undefined ? undefined : takeDescriptor(leftover.pid, 3 + index);
    if (fd !== undefined) taken.set(descriptor, fd);
  }
  const specWith = (fds: ReadonlyMap<DescriptorPlan, number>): ChildSpec => {
    const present = plan.descriptors.filter((descriptor) => fds.has(descriptor));
    return {
      name: plan.name,
      netns: plan.netns,
      runtimeFlags: plan.runtimeFlags,
      fds: present.map((descriptor) => fds.get(descriptor) ?? -1),
      descriptors: present.map(describeDescriptor),
      command: plan.command((descriptor) => {
        const index = present.indexOf(descriptor);
        return index < 0 ? undefined : 3 + index;
      }),
    };
  };
  if (leftover !== undefined) {
    const spec = specWith(taken);
    if (JSON.stringify(spec.command) === JSON.stringify(leftover.command)) {
      log.info('adopted a running process', { process: plan.name, pid: leftover.pid });
      return { spec, leftover };
    }
    log.info('replacing a process that runs with other arguments', { process: plan.name, descriptions });
    await stopLeftover(leftover, log);
  }
  for (const descriptor of plan.descriptors) {
    if (!taken.has(descriptor)) openPlanned(descriptor, taken, log);
  }
  return { spec: specWith(taken), leftover: undefined };
}

function openPlanned(descriptor: DescriptorPlan, into: Map<DescriptorPlan, number>, log: Logger): void {
  const { netns, address, port, kind = 'tcp', optional } = descriptor;
  // In a node's namespace DNS binds the port's other addresses itself; the host's may be somebody else's.
  const shared = kind === 'udp' && netns !== undefined;
  const open = (): number => openSocket(kind, address, port, { shared });
  try {
    into.set(descriptor, netns === undefined ? open() : inNetns(netns, open));
  } catch (error) {
    if (!optional) throw error;
    log.info('an address is not published', { address, port, error });
  }
}

/**
 * Copies and cuts instead of renaming, because the processes hold their file open; what is written in between is lost.
 */
function rotateLogs(config: ClusterConfig, names: ReadonlySet<string>, log: Logger): void {
  for (const name of [...names, 'supervisor']) {
    const file = pathsOf(config).logOf(name);
    try {
      if (statSync(file).size <= logBytesMax) continue;
      copyFileSync(file, `${file}.1`);
      truncateSync(file);
    } catch (error) {
      log.warn('cannot rotate a log file', { file, error });
    }
  }
}
