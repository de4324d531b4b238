/** A real cluster for a test, started through the command line that people use. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildImages } from '../../tools/images/build.ts';
import { hostLinkOf } from '../../src/cluster/host-names.ts';
import { freePorts } from './ports.ts';
import { type RunOptions, type RunResult, run, runOk } from './shell.ts';

export const fairlead = join(import.meta.dirname, '../../fairlead');
export const examples = join(import.meta.dirname, '../../examples');

export type TestCluster = {
  readonly name: string;
  readonly dataDir: string;
  readonly kubeconfig: string;
  /** Host ports by load-balancer port: 80, 443 and 8080. */
  readonly ports: { readonly http: number; readonly https: number; readonly lb: number };
  /** kubectl against this cluster; must succeed; resolves to its standard output. */
  kubectl(args: string, options?: RunOptions): Promise<string>;
  /** The same, whatever its exit code. */
  tryKubectl(args: string, options?: RunOptions): Promise<RunResult>;
  /** `fairlead ARGS --name …` */
  cli(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Starts it, or starts it again; resolves to everything that `fairlead up` printed. */
  up(): Promise<string>;
  down(): Promise<void>;
};

export type TestClusterOptions = {
  readonly name: string;
  readonly agents?: number;
  readonly ingressClass?: string;
  readonly nodeGraceSeconds?: number;
  /** 'auto' lets image pulls and names out. Default 'none'. */
  readonly egress?: 'auto' | 'none';
  /** Further arguments of `up`. */
  readonly upArguments?: readonly string[];
  /** Of `up` and `down`, beside the kubeconfig. */
  readonly env?: Readonly<Record<string, string>>;
};

/** Plans a cluster, by default with no way out of its namespaces; `up` starts it. Its kubeconfig and data live in a folder of their own. */
export async function planCluster(options: TestClusterOptions): Promise<TestCluster> {
  const folder = mkdtempSync(join(tmpdir(), `fairlead-${options.name}-`));
  const kubeconfig = join(folder, 'user-kubeconfig.yaml');
  const dataDir = join(folder, 'data');
  const [http = 0, https = 0, lb = 0] = await freePorts(3);
  const ports = { http, https, lb };
  const env = { ...options.env, KUBECONFIG: kubeconfig };
  const words = (args: string): string[] => args.split(' ').filter((word) => word !== '');
  const upArguments = [
    ...['up', '--name', options.name, '--data-dir', dataDir],
    ...['--egress', options.egress ?? 'none'],
    ...(options.agents === undefined ? [] : ['--agents', String(options.agents)]),
    ...(options.ingressClass === undefined ? [] : ['--ingress-class', options.ingressClass]),
    ...(options.nodeGraceSeconds === undefined
      ? []
      : ['--node-grace-seconds', String(options.nodeGraceSeconds)]),
    ...['-p', `${ports.http}:80@loadbalancer`, '-p', `${ports.https}:443@loadbalancer`],
    ...['-p', `${ports.lb}:8080@loadbalancer`],
    ...(options.upArguments ?? []),
  ];
  return {
    name: options.name,
    dataDir,
    kubeconfig,
    ports,
    kubectl: (args, runOptions = {}) =>
      runOk('kubectl', words(args), { ...runOptions, env: { ...env, ...runOptions.env } }),
    tryKubectl: (args, runOptions = {}) =>
      run('kubectl', words(args), { ...runOptions, env: { ...env, ...runOptions.env } }),
    cli: (args, runOptions = {}) =>
      runOk(fairlead, args, { ...runOptions, env: { ...env, ...runOptions.env } }),
    up: async () => {
      const result = await run(fairlead, upArguments, { env });
      if (result.code !== 0) throw new Error(`fairlead up failed\n${result.stderr}${result.stdout}`);
      return result.stderr + result.stdout;
    },
    down: async () => {
      await runOk(fairlead, ['down', '--name', options.name], { env });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Builds the test images from Debian packages (cached between runs) and imports them into every node. */
export async function importImages(cluster: TestCluster, names: readonly string[]): Promise<void> {
  const archives = await buildImages(names, {});
  await cluster.cli(['image', 'import', '--name', cluster.name, ...archives.map((archive) => archive.path)]);
}

/** What a machine holds that a cluster could leave behind. */
export async function leftovers(cluster: {
  readonly name: string;
  readonly dataDir: string;
}): Promise<readonly string[]> {
  const netns = (await runOk('ip', ['netns', 'list']))
    .split('\n')
    .filter((line) => line.startsWith(`fairlead-${cluster.name}-`));
  const mounts = (await runOk('cat', ['/proc/self/mountinfo']))
    .split('\n')
    .filter((line) => line.includes(cluster.dataDir) || line.includes(`/run/fairlead/${cluster.name}/`));
  const processes = (await runOk('ps', ['-eo', 'pid,args']))
    .split('\n')
    .filter((line) => line.includes(cluster.dataDir) || line.includes(`/run/fairlead/${cluster.name}/`));
  const note = `/var/lib/fairlead/${cluster.name}.json`;
  const files = (await run('ls', ['-d', cluster.dataDir, `/run/fairlead/${cluster.name}`, note])).stdout
    .split('\n')
    .filter((line) => line !== '');
  const groups = (
    await run('find', ['/sys/fs/cgroup', '-maxdepth', '4', '-path', `*/fairlead/${cluster.name}*`])
  ).stdout
    .split('\n')
    .filter((line) => line !== '');
  const links = (await runOk('ip', ['-o', 'link']))
    .split('\n')
    .filter((line) => line.includes(` ${hostLinkOf(cluster.name)}@`));
  return [...netns, ...mounts, ...processes, ...files, ...groups, ...links];
}
