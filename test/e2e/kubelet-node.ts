import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createOciArchive, writeOciArchive } from '../../src/base/oci-archive.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { ClusterConfig } from '../../src/cluster/config.ts';
import { renderKubeconfig } from '../../src/cluster/kubeconfig.ts';
import { removeEverything } from '../../src/cluster/leftovers.ts';
import { ensurePki } from '../../src/cluster/pki.ts';

/**
 * One node in a network namespace of its own: API server, controllers and node agent as processes, driven by kubectl.
 * Everything is below one folder and one namespace, and `close` removes all of it.
 */
export type TestNode = {
  readonly name: string;
  readonly dataDir: string;
  kubectl(...args: readonly string[]): Promise<string>;
  apply(manifest: unknown): Promise<void>;
  /** Runs a program in the node's network namespace. */
  exec(...command: readonly string[]): Promise<string>;
  startAgent(): Promise<void>;
  /** Ends the node agent by `signal`, and containerd too where asked. */
  stopAgent(signal: 'SIGTERM' | 'SIGKILL', options?: { readonly containerd?: boolean }): Promise<void>;
  agentLog(): Promise<string>;
  close(): Promise<void>;
};

const run = promisify(execFile);
const nodeAddress = '10.41.0.2';
const root = join(import.meta.dirname, '..', '..');
export const busyboxImage = 'docker.io/library/busybox:latest';

/** Undefined where such a node can be made here; else why not. */
export async function reasonToSkip(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of ['containerd', 'runc', 'ctr', 'ip', 'nsenter', 'kubectl', 'busybox']) {
    const found = await run('which', [tool]).then(
      () => true,
      () => false,
    );
    if (!found) return `needs ${tool}`;
  }
  return undefined;
}

export async function openTestNode(): Promise<TestNode> {
  const dataDir = await mkdtemp('/var/lib/fairlead-kubelet-test-');
  const name = dataDir.slice('/var/lib/'.length);
  const netns = name;
  const runDir = join('/run', name);
  const config = { name, agents: 0, dataDir, runDir } as ClusterConfig;
  await mkdir(runDir, { recursive: true });
  const pairs = await ensurePki(config, Date.now());
  await run('ip', ['netns', 'add', netns]);
  const inside = (command: readonly string[]) => ['nsenter', `--net=/run/netns/${netns}`, ...command];
  const exec = async (...command: readonly string[]) => {
    const [file = '', ...args] = inside(command);
    const { stdout } = await run(file, args, { maxBuffer: 1 << 26 });
    return stdout;
  };
  for (const line of [
    'link set lo up',
    'link add eth0 type veth peer name peer0',
    `addr add ${nodeAddress}/16 dev eth0`,
    'link set peer0 up',
    'link set eth0 up',
  ]) {
    await exec('ip', ...line.split(' '));
  }
  const kubeconfig = async (file: string, identity: string) => {
    const client = pairs.get(identity);
    const authority = pairs.get('ca')?.certificate;
    if (client === undefined || authority === undefined) throw new Error(`no certificate ${identity}`);
    const server = `https://${nodeAddress}:6443`;
    const path = join(dataDir, file);
    await writeFile(
      path,
      renderKubeconfig({ contextName: name, userName: identity, server, authority, client }),
    );
    return path;
  };
  const admin = await kubeconfig('admin.yaml', 'admin');
  const controllers = await kubeconfig('controllers.yaml', 'controllers');
  const agent = await kubeconfig('node.yaml', 'node-server-0');
  await mkdir(join(dataDir, 'nodes', 'server-0', 'static-pods'), { recursive: true });
  await mkdir(join(runDir, 'processes'), { recursive: true });

  const children = new Map<string, ChildProcess>();
  async function start(
    part: string,
    module: string,
    command: string,
    args: readonly string[],
  ): Promise<void> {
    const script = `const m = await import(${JSON.stringify(join(root, module))}); await m.${command}().parseAsync(process.argv.slice(1), { from: 'user' });`;
    const [file = '', ...rest] = inside([
      process.execPath,
      '--input-type=module',
      '-e',
      script,
      '--',
      ...args,
    ]);
    const child = spawn(file, rest, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, FAIRLEAD_CLUSTER: name },
    });
    children.set(part, child);
    const log = createWriteStream(join(dataDir, `${part}.log`), { flags: 'a' });
    const ready = Promise.withResolvers<void>();
    let text = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      log.write(chunk);
      text += chunk.toString();
      if (text.includes('"message":"ready"')) ready.resolve();
    });
    child.once('exit', (code) => ready.reject(new Error(`${part} ended with ${code}: ${text.slice(-2000)}`)));
    await ready.promise;
    ready.promise.catch(() => {});
  }

  const startAgent = () =>
    start('node', 'src/cmd/node.ts', 'nodeCommand', [
      ...['--kubeconfig', agent, '--node-name', 'server-0', '--node-ip', nodeAddress, '--data-dir', dataDir],
      ...['--run-dir', runDir, '--label', 'node-role.kubernetes.io/control-plane=true', '--no-proxy'],
      ...['--disk-check-ms', '200'],
    ]);
  const kubectl = async (...args: readonly string[]) => exec('kubectl', `--kubeconfig=${admin}`, ...args);

  await start('apiserver', 'src/cmd/apiserver.ts', 'apiserverCommand', [
    ...['--data-dir', dataDir, '--pki-dir', join(dataDir, 'pki'), '--listen', `${nodeAddress}:6443`],
    ...['--advertise-address', nodeAddress],
  ]);
  await start('controllers', 'src/cmd/controllers.ts', 'controllersCommand', ['--kubeconfig', controllers]);

  return {
    name,
    dataDir,
    kubectl,
    exec,
    startAgent,
    async apply(manifest) {
      const path = join(dataDir, 'manifest.json');
      await writeFile(path, JSON.stringify(manifest));
      await kubectl('apply', '-f', path);
    },
    async stopAgent(signal, options = {}) {
      const child = children.get('node');
      if (child?.pid === undefined) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
      if (options.containerd !== true) return;
      const pid = Number(await readFile(join(runDir, 'nodes', 'server-0', 'containerd.pid'), 'utf8'));
      process.kill(pid, 'SIGKILL');
    },
    agentLog: async () => readFile(join(dataDir, 'node.log'), 'utf8'),
    async close() {
      for (const part of ['node', 'controllers', 'apiserver']) {
        const child = children.get(part);
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
        const ended = once(child, 'exit');
        child.kill('SIGTERM');
        await ended;
      }
      await removeEverything(config, silentLogger);
      await run('ip', ['netns', 'del', netns]).catch(() => {}); // removed with the cluster's other namespaces
      await rm(dataDir, { recursive: true, force: true });
      await rm(runDir, { recursive: true, force: true });
    },
  };
}

/** An image with busybox from this machine, and links for what the tests call; imported as `busyboxImage`. */
export async function importBusybox(node: TestNode): Promise<void> {
  const data = await readFile((await run('which', ['busybox'])).stdout.trim());
  const applets = [
    'sh',
    'sleep',
    'cat',
    'echo',
    'httpd',
    'nc',
    'wget',
    'ls',
    'env',
    'id',
    'nslookup',
    'true',
    'false',
    'mkdir',
    'tail',
  ];
  const archive = createOciArchive({
    tags: [busyboxImage],
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    config: { cmd: ['sh'] },
    layers: [
      [
        { kind: 'directory', path: 'bin' },
        { kind: 'file', path: 'bin/busybox', mode: 0o755, data },
        ...applets.map((path) => ({ kind: 'symlink' as const, path: `bin/${path}`, target: 'busybox' })),
        { kind: 'directory', path: 'tmp', mode: 0o1777 },
        { kind: 'directory', path: 'etc' },
      ],
    ],
  });
  const path = join(node.dataDir, 'busybox.tar');
  await writeOciArchive(archive, path);
  const socket = join('/run', node.name, 'nodes', 'server-0', 'containerd.sock');
  await run('ctr', ['--address', socket, '--namespace', 'k8s.io', 'images', 'import', path]);
}

/** Files below a folder, for assertions that nothing is left. */
export async function entriesOf(dir: string): Promise<readonly string[]> {
  return readdir(dir).catch(() => []);
}
