/** The engine under a soak, and what can be seen of its process from outside. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePorts } from '../../test/support/ports.ts';

const localhost = '127.0.0.1';

/** An engine with routes to `backendPorts` for `host`, whose files are in `folder`. */
export async function startEngine(
  { folder, host, transport }: { readonly folder: string; readonly host: string; readonly transport: string },
  backendPorts: readonly number[],
) {
  const config = join(folder, 'routes.yaml');
  const [port = 0, tlsPort = 0, healthPort = 0] = await freePorts(3);
  const route = (to: readonly number[], others: number): void => {
    const list = to.map((at) => `${localhost}:${at}`).join(', ');
    const routes = ['/', ...Array.from({ length: others }, (_, at) => `/other-${at}`)];
    const lines = routes.map((path) => `  - { host: ${host}, path: ${path}, backends: [${list}] }\n`);
    writeFileSync(`${config}.new`, `routes:\n${lines.join('')}`);
    renameSync(`${config}.new`, config);
  };
  route(backendPorts, 0);
  const program = join(import.meta.dirname, '../../src/cmd/fairlead.ts');
  const child: ChildProcess = spawn(
    process.execPath,
    [
      ...['--disable-warning=ExperimentalWarning', program, 'ingress', '--config', config],
      ...['--http', `${localhost}:${port}`, '--https', `${localhost}:${tlsPort}`, '--transport', transport],
      ...['--health-address', `${localhost}:${healthPort}`],
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  while (!(await isReady(healthPort))) {
    if (child.exitCode !== null) throw new Error('the engine ended at once: its messages are above');
    await delay(50);
  }
  return {
    child,
    route,
    port,
    tlsPort,
    healthPort,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
}

async function isReady(healthPort: number): Promise<boolean> {
  try {
    return (await fetch(`http://${localhost}:${healthPort}/readyz`)).ok;
  } catch {
    return false; // it does not listen yet
  }
}

/** The clients' connections that the engine still has after at most ten seconds. */
export async function untilQuiet(healthPort: number): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    const text = await (await fetch(`http://${localhost}:${healthPort}/metrics`)).text();
    const open = Number(/^fairlead_ingress_client_connections (\d+)/m.exec(text)?.[1] ?? Number.NaN);
    if (open === 0 || attempt === 100) return open;
    await delay(100);
  }
}

/** Its descriptors once there are no more than `most`, or after at most ten seconds: it may not have heard yet of all that has ended. */
export async function untilFew(pid: number, most: number): Promise<number> {
  for (let attempt = 0; ; attempt += 1) {
    const { length } = readdirSync(`/proc/${pid}/fd`);
    if (length <= most || attempt === 100) return length;
    await delay(100);
  }
}

/** How many sockets of a process are in which state, and whether they lead to a backend; what is not known to TCP any more has state "none". */
export function socketsOf(pid: number, backendPorts: readonly number[]): Record<string, number> {
  const byInode = new Map<string, string>();
  for (const line of readFileSync(`/proc/${pid}/net/tcp`, 'utf8').split('\n').slice(1)) {
    const [, , remote = '', state = '', , , , , , inode = ''] = line.trim().split(/\s+/);
    const port = Number.parseInt(remote.split(':')[1] ?? '', 16);
    byInode.set(inode, `${backendPorts.includes(port) ? 'to a backend' : 'other'}, state ${state}`);
  }
  const counts: Record<string, number> = {};
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const inode = /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
    if (inode === undefined) continue;
    const kind = byInode.get(inode) ?? 'state none';
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

export function residentMb(pid: number): number {
  const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return Math.round(kib / 1024);
}
