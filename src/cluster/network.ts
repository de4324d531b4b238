import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { ClusterConfig } from './config.ts';
import { type IpBatch, isClusterNetns, type NetworkPlan, type ObservedNetns, planNetwork } from './netns.ts';
import { inNetns } from './sockets.ts';

/** Runs a program to its end with text on its standard input. Rejects with what it said when it fails. */
export async function runTool(program: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  const problems: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => problems.push(chunk));
  child.stdin.on('error', () => {}); // it ended before it read everything: its exit code tells
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(Buffer.concat(output).toString());
      else reject(new Error(`${program} ${args.join(' ')}: ${Buffer.concat(problems).toString().trim()}`));
    });
  });
}

/** The cluster's namespaces with their interfaces, as they are now. */
export function observeNetwork(clusterName: string): ObservedNetns {
  const observed = new Map<string, ReadonlySet<string>>();
  for (const netns of namedNetns()) {
    if (!isClusterNetns(clusterName, netns)) continue;
    try {
      observed.set(netns, inNetns(netns, interfaces));
    } catch {
      // A name without a namespace behind it, left by an interrupted `ip netns add`: counts as missing interfaces.
      observed.set(netns, new Set());
    }
  }
  return observed;
}

export function namedNetns(): readonly string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return []; // no namespace was ever named on this machine
  }
}

function interfaces(): ReadonlySet<string> {
  const lines = readFileSync('/proc/thread-self/net/dev', 'utf8').split('\n').slice(2);
  return new Set(lines.map((line) => line.split(':')[0]?.trim() ?? '').filter((name) => name !== ''));
}

/** Makes the node network, or completes it. */
export async function createNetwork(config: ClusterConfig): Promise<void> {
  const plan: NetworkPlan = planNetwork(config, observeNetwork(config.name));
  if (plan.namespaces !== undefined) await runBatch(plan.namespaces);
  for (const { netns, key, value } of plan.sysctls) {
    inNetns(netns, () => writeFileSync(`/proc/sys/${key.replaceAll('.', '/')}`, value));
  }
  for (const stage of plan.stages) await Promise.all(stage.map(runBatch));
}

/** Runs lines of `ip` in a namespace. Rejects with what it said. */
export async function runBatch({ netns, lines }: IpBatch): Promise<void> {
  const args = [...(netns === undefined ? [] : ['-netns', netns]), '-batch', '-'];
  await runTool('ip', args, `${lines.join('\n')}\n`);
}

/** Removes the cluster's namespaces with everything in them. Processes that are still inside must have been ended. */
export async function removeNetwork(clusterName: string): Promise<void> {
  const lines = namedNetns()
    .filter((netns) => isClusterNetns(clusterName, netns))
    .map((netns) => `netns delete ${netns}`);
  if (lines.length > 0) await runBatch({ netns: undefined, lines });
}
