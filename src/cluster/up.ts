import { existsSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { formatHostPort } from '../base/ip.ts';
import { UserError } from '../base/user-error.ts';
import { type ApiClient, ApiError } from '../client/client.ts';
import type { KeyPair } from '../base/certificates.ts';
import { ensureAddons, staticPods } from './addons.ts';
import type { Launcher } from './child.ts';
import {
  apiNodePort,
  type ClusterConfig,
  type EgressMode,
  gatewayOf,
  type HostDns,
  mergePublished,
  nodesOf,
  pathsOf,
  type PublishedPort,
  nodeGraceSecondsOf,
} from './config.ts';
import { pickHostDns, resolveOnHost } from './host-names.ts';
import { type KubeconfigFacts, mergeIntoFile, renderKubeconfig } from './kubeconfig.ts';
import { startSupervisor, type StartedSupervisor } from './launch.ts';
import { ensurePki, writeWhole } from './pki.ts';
import { directoriesOf } from './plan.ts';
import { chooseFamilies, type IpFamilies, ipFamiliesOf } from './ranges.ts';
import { freePublished, pickApiPort } from './ports.ts';
import {
  completePath,
  describeMissing,
  findCniBinDir,
  ipv6Problem,
  missingPrerequisites,
} from './prerequisites.ts';
import { waitForNodes, waitForSystemPods } from './ready.ts';
import {
  type BaseDirs,
  baseDirs,
  type ClusterState,
  findState,
  isAlive,
  otherApiPorts,
  readProcessStates,
  rememberDataDir,
  writeState,
} from './state.ts';

/** How long a cluster may take until everything in it is ready; cold disks are slow, crashes are not cured by waiting. */
export const readyTimeoutMs = 90_000;

/** What was asked for; what is left out comes from the cluster's last start, else from the defaults. */
export type UpRequest = {
  readonly name: string;
  readonly agents: number | undefined;
  readonly ipFamilies: IpFamilies | undefined;
  readonly published: readonly PublishedPort[];
  readonly ingressClasses: readonly string[] | undefined;
  readonly dataDir: string | undefined;
  readonly egress: EgressMode | undefined;
  /** Whether programs of this machine shall find the cluster's names. */
  readonly resolveOnHost: boolean | undefined;
  readonly nodeGraceSeconds: number | undefined;
  /** The user's kubeconfig to merge a context into; undefined: leave it alone. */
  readonly mergeInto: string | undefined;
  readonly foreground: boolean;
};

export type UpDeps = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly launcher: Launcher;
  readonly nowMs: () => number;
  readonly begin: (what: string) => void;
  readonly done: (what: string) => void;
  readonly note: (text: string) => void;
  /** A client for a kubeconfig file. */
  connect(kubeconfig: string): Promise<ApiClient>;
};

export type UpResult = {
  readonly config: ClusterConfig;
  /** It ran already and nothing was started. */
  readonly wasRunning: boolean;
  readonly supervisor: StartedSupervisor | undefined;
};

export const contextNameOf = (clusterName: string): string => `fairlead-${clusterName}`;

/** Starts a cluster, or finishes what an earlier start left, and waits until all of it is ready. Throws UserError. */
export async function upCluster(request: UpRequest, deps: UpDeps, signal: AbortSignal): Promise<UpResult> {
  const dirs = baseDirs(deps.env, process.getuid?.() ?? 0);
  const state = await findState(request.name, dirs, request.dataDir);
  const running = state !== undefined && isAlive(readProcessStates(state.config).get('supervisor'));
  if (running) {
    remarkOnDifferences(request, state.config, deps);
    await finish(state, request, deps, undefined, signal);
    return { config: state.config, wasRunning: true, supervisor: undefined };
  }
  checkMachine(ipFamiliesFor(request, state?.config), deps);
  const config = configure(request, state, dirs, await otherApiPorts(request.name, dirs), deps);
  // Secrets are in the store and in the Pods' volumes: nobody else on this machine looks in.
  for (const dir of directoriesOf(config)) await mkdir(dir, { recursive: true, mode: 0o700 });
  const next: ClusterState = { config, merged: state?.merged, startedAtMs: deps.nowMs() };
  await writeState(next);
  await rememberDataDir(config, dirs);
  const supervisor = startSupervisor(config, deps.launcher, request.foreground);
  try {
    deps.begin('network namespaces, keys and processes');
    await writeCredentials(config, deps.nowMs());
    supervisor.release();
    await supervisor.reached('network');
    deps.done(`network of ${config.agents + 1} node${config.agents === 0 ? '' : 's'}, keys, kubeconfigs`);
    await supervisor.reached('processes');
    await finish(next, request, deps, supervisor, signal);
    return { config, wasRunning: false, supervisor };
  } finally {
    if (!request.foreground) supervisor.detach();
  }
}

/** Throws UserError. */
function checkMachine(wanted: IpFamilies, deps: UpDeps): void {
  if (process.platform !== 'linux') throw new UserError('a cluster needs Linux');
  if (process.getuid?.() !== 0) {
    throw new UserError(
      'a cluster needs root for now (network namespaces, mounts): run `sudo ./fairlead up`',
    );
  }
  const ipv6 = wanted !== 'ipv4';
  const missing = missingPrerequisites(completePath(deps.env['PATH']), { ipv6 });
  if (missing.length > 0) throw new UserError(describeMissing(missing));
  const problem = ipv6 ? ipv6Problem() : undefined;
  if (problem !== undefined) throw new UserError(`--ip-family ${wanted}: ${problem}`);
}

function configure(
  request: UpRequest,
  state: ClusterState | undefined,
  dirs: BaseDirs,
  apiPortsTaken: ReadonlySet<number>,
  deps: UpDeps,
): ClusterConfig {
  const last = state?.config;
  const dataDir = request.dataDir ?? last?.dataDir ?? posix.join(dirs.data, request.name);
  if (last !== undefined && last.dataDir !== dataDir) {
    throw new UserError(
      `the cluster ${request.name} has its data in ${last.dataDir}; \`fairlead down --name ${request.name}\` removes it first`,
    );
  }
  // Registries may be described before the first start.
  const isEmpty = (): boolean => readdirSync(dataDir).every((entry) => entry === 'registries');
  if (last === undefined && existsSync(dataDir) && !isEmpty()) {
    throw new UserError(
      `${dataDir} is not empty and not of the cluster ${request.name}: name another directory with --data-dir`,
    );
  }
  const published =
    request.published.length > 0 || last === undefined ? merged(request.published) : last.published;
  // Sockets that children of a killed supervisor still hold are ours: the new one takes them over.
  const held = new Set(
    last === undefined
      ? []
      : [...readProcessStates(last).values()].filter(isAlive).flatMap(({ descriptors }) => descriptors),
  );
  const isHeld = ({ hostPort }: PublishedPort): boolean =>
    [...held].some((text) => text.startsWith('host/') && text.endsWith(`:${hostPort}`));
  const free = freePublished(
    published.filter((port) => !isHeld(port)),
    deps.note,
  );
  return Object.freeze({
    name: request.name,
    agents: request.agents ?? last?.agents ?? 0,
    ipFamilies: ipFamiliesFor(request, last),
    published: published.filter((port) => isHeld(port) || free.includes(port)),
    ingressClasses: request.ingressClasses ?? last?.ingressClasses ?? ['fairlead'],
    dataDir,
    runDir: posix.join(dirs.run, request.name),
    egress: request.egress ?? last?.egress ?? 'auto',
    nodeGraceSeconds: request.nodeGraceSeconds ?? last?.nodeGraceSeconds,
    cniBinDir: findCniBinDir(),
    apiPort: last?.apiPort ?? pickApiPort(apiPortsTaken),
    hostDns: hostDnsOf(request, last, held),
  });
}

/** Throws UserError. */
function ipFamiliesFor(request: UpRequest, last: ClusterConfig | undefined): IpFamilies {
  const chosen = chooseFamilies(request.ipFamilies, last);
  if (chosen === undefined) {
    throw new UserError(
      `the cluster ${request.name} was made with --ip-family ${ipFamiliesOf(last ?? {})}; \`fairlead down --name ${request.name}\` removes it first`,
    );
  }
  return chosen;
}

function hostDnsOf(
  { resolveOnHost }: UpRequest,
  last: ClusterConfig | undefined,
  held: ReadonlySet<string>,
): HostDns | undefined {
  if (!(resolveOnHost ?? last?.hostDns !== undefined)) return undefined;
  const before = last?.hostDns;
  const isHeld = before !== undefined && held.has(`host/${before.address}:${before.port}/udp`);
  return isHeld ? before : pickHostDns(before);
}

function merged(asked: readonly PublishedPort[]): readonly PublishedPort[] {
  const result = mergePublished(asked);
  if (!result.ok) throw new UserError(result.error);
  return result.value;
}

function remarkOnDifferences(request: UpRequest, config: ClusterConfig, deps: UpDeps): void {
  const differs = [
    ...(request.agents !== undefined && request.agents !== config.agents ? ['--agents'] : []),
    ...(request.ipFamilies !== undefined && request.ipFamilies !== ipFamiliesOf(config)
      ? ['--ip-family']
      : []),
    ...(request.dataDir !== undefined && request.dataDir !== config.dataDir ? ['--data-dir'] : []),
    ...(request.nodeGraceSeconds !== undefined && request.nodeGraceSeconds !== nodeGraceSecondsOf(config)
      ? ['--node-grace-seconds']
      : []),
    ...(request.egress !== undefined && request.egress !== config.egress ? ['--egress'] : []),
    ...(request.resolveOnHost !== undefined && request.resolveOnHost !== (config.hostDns !== undefined)
      ? [request.resolveOnHost ? '--resolve-on-host' : '--no-resolve-on-host']
      : []),
    ...(request.ingressClasses !== undefined &&
    request.ingressClasses.join(',') !== config.ingressClasses.join(',')
      ? ['--ingress-class']
      : []),
    ...(request.published.every((asked) =>
      config.published.some(({ hostPort, port }) => hostPort === asked.hostPort && port === asked.port),
    )
      ? []
      : ['--publish']),
  ];
  if (differs.length === 0) return;
  deps.note(
    `the cluster runs already with other options: ${differs.join(', ')} not applied; \`fairlead down --name ${config.name}\` first`,
  );
}

/** Keys, kubeconfigs and static Pods: all that processes read when they start. */
async function writeCredentials(config: ClusterConfig, nowMs: number): Promise<void> {
  const paths = pathsOf(config);
  const [server] = nodesOf(config);
  for (const [file, pod] of staticPods(config)) {
    await writeWhole(
      posix.join(paths.staticPods(server?.name ?? ''), file),
      `${JSON.stringify(pod, undefined, 2)}\n`,
      0o644,
    );
  }
  const resolvConf = config.egress === 'none' ? '' : `nameserver ${gatewayOf(config)}\n`;
  await writeWhole(paths.resolvConf, resolvConf, 0o644);
  const pairs = await ensurePki(config, nowMs);
  const inside = `https://${formatHostPort(server?.address ?? '', apiNodePort)}`;
  const components = [
    'controllers',
    'scheduler',
    'dns',
    'ingress',
    ...nodesOf(config).map(({ name }) => `node-${name}`),
  ];
  await Promise.all([
    ...components.map((name) =>
      writeWhole(
        posix.join(paths.kubeconfigDir, `${name}.yaml`),
        renderKubeconfig(kubeconfigFacts(config, pairs, name, inside)),
        0o600,
      ),
    ),
    writeWhole(paths.adminKubeconfig, renderKubeconfig(adminFacts(config, pairs)), 0o600),
  ]);
}

function kubeconfigFacts(
  config: ClusterConfig,
  pairs: ReadonlyMap<string, KeyPair>,
  name: string,
  server: string,
): KubeconfigFacts {
  const client = pairs.get(name);
  if (client === undefined) throw new Error(`no certificate for ${name}`);
  return {
    contextName: contextNameOf(config.name),
    userName: name === 'admin' ? `fairlead-admin@${config.name}` : name,
    server,
    authority: pairs.get('ca')?.certificate ?? '',
    client,
  };
}

export function adminFacts(config: ClusterConfig, pairs: ReadonlyMap<string, KeyPair>): KubeconfigFacts {
  return kubeconfigFacts(config, pairs, 'admin', `https://127.0.0.1:${config.apiPort}`);
}

/** Waits for everything, creates the system Services and gives the user a context. */
async function finish(
  state: ClusterState,
  request: UpRequest,
  deps: UpDeps,
  supervisor: StartedSupervisor | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { config } = state;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(readyTimeoutMs)]);
  let missing: readonly string[] = ['the API server'];
  const waiting = (names: readonly string[]): void => {
    missing = names;
  };
  const api = await deps.connect(pathsOf(config).adminKubeconfig);
  try {
    deps.begin('API server');
    const failed = supervisor?.reached('never') ?? new Promise<never>(() => {});
    failed.catch(() => {}); // seen by the races below
    await Promise.race([waitForApi(api, limit), failed]);
    deps.done('API server');
    await ensureAddons(api, config, limit);
    deps.begin('nodes');
    await Promise.race([waitForNodes(api, config, waiting, limit), failed]);
    deps.done(config.agents === 0 ? 'node ready' : `${config.agents + 1} nodes ready`);
    deps.begin('DNS and ingress');
    await Promise.race([waitForSystemPods(api, waiting, limit), failed]);
    deps.done('DNS and ingress ready');
    if (config.hostDns !== undefined) deps.note(await resolveOnHost(config, config.hostDns));
  } catch (error) {
    if (signal.aborted) {
      throw new UserError(
        `interrupted; the cluster goes on starting: \`fairlead up --name ${config.name}\` waits again, \`fairlead down --name ${config.name}\` removes it`,
      );
    }
    if (!limit.aborted) throw error;
    throw new UserError(
      `not ready after ${readyTimeoutMs / 1000} s: ${missing.join(', ')}; look at \`fairlead status\` and the logs in ${pathsOf(config).logs}`,
      { cause: error },
    );
  } finally {
    api.close();
  }
  await mergeUserContext(state, request, deps);
}

/** Pause between two questions to an API server that does not answer yet, ms. */
const apiRetryMs = 50;

/** The server's socket is there before the server: the first question simply waits. Only a crash needs a second one. */
async function waitForApi(api: ApiClient, signal: AbortSignal): Promise<void> {
  while (true) {
    try {
      await api.raw('/readyz', signal);
      return;
    } catch (error) {
      signal.throwIfAborted();
      const isNotUp = error instanceof ApiError && (error.httpStatus === 0 || error.httpStatus >= 500);
      if (!isNotUp) throw error;
      await new Promise((resolve) => setTimeout(resolve, apiRetryMs));
    }
  }
}

async function mergeUserContext(state: ClusterState, request: UpRequest, deps: UpDeps): Promise<void> {
  if (request.mergeInto === undefined) return;
  const { config } = state;
  const facts = adminFacts(config, await ensurePki(config, deps.nowMs()));
  const created = state.merged?.created ?? !existsSync(request.mergeInto);
  const previous = (await mergeIntoFile(request.mergeInto, facts)) ?? state.merged?.previous;
  await writeState({ ...state, merged: { file: request.mergeInto, previous, created } });
  deps.done(`kubectl context ${facts.contextName} in ${request.mergeInto}`);
}
