import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run, runOk } from '../support/shell.ts';
import { type AgentReply, type AgentRequest, answerTimeoutMs } from './l4-agent.ts';

/** A process in one namespace that serves and dials. */
export type Agent = {
  /** The line that the far side sends first, or an error code. `waitMs`: `dropMs` where none is to come. */
  tcp(host: string, port: number, waitMs?: number): Promise<string>;
  udp(host: string, port: number, localPort?: number): Promise<string>;
  /** `STATUS BODY` of a GET. */
  http(host: string, port: number, waitMs?: number): Promise<string>;
  open(name: string, host: string, port: number): Promise<string>;
  say(name: string, text: string): Promise<string>;
};

/** How long nothing must come for a connection that is dropped, ms. Too short can only hide a fault, too long only takes its time. */
export const dropMs = 1500;

export type AgentName = 'client' | 'node-0' | 'node-1' | 'pod-a' | 'pod-b' | 'pod-c';

export const addresses = {
  client: '10.41.0.100',
  'node-0': '10.41.0.2',
  'node-1': '10.41.0.3',
  'pod-a': '10.42.0.2',
  'pod-b': '10.42.0.3',
  'pod-c': '10.42.1.2',
} as const satisfies Record<AgentName, string>;

export const addresses6 = {
  client: 'fd41::100',
  'node-0': 'fd41::2',
  'node-1': 'fd41::3',
  'pod-a': 'fd42::2',
  'pod-b': 'fd42::3',
  'pod-c': 'fd42:0:0:1::2',
} as const satisfies Record<AgentName, string>;

const podsOfNode = { 'node-0': ['pod-a', 'pod-b'], 'node-1': ['pod-c'] } as const;
export type NodeName = keyof typeof podsOfNode;
export const nodeNames: readonly NodeName[] = ['node-0', 'node-1'];
export const podPort = 8080;
export const otherPodPort = 8081;
/** Where nodes and the client serve: no Service has it. */
export const outsidePort = 7070;
/** Where the client alone serves. */
export const clientPort = 7080;

export type Network = {
  readonly agents: Readonly<Record<AgentName, Agent>>;
  /** The namespace of that name on this machine. */
  namespace(name: AgentName | 'wire'): string;
  close(): Promise<void>;
};

/**
 * A network namespace as the wire (bridge), two nodes and a client on it, and Pods behind the nodes as the `ptp` CNI plugin
 * attaches them: a veth pair each, routed.
 */
export async function createNetwork(): Promise<Network> {
  const prefix = `fairlead-l4-${process.pid}`;
  const namespace = (name: string): string => `${prefix}-${name}`;
  const names = ['wire', ...(Object.keys(addresses) as AgentName[])];
  const children: ChildProcessWithoutNullStreams[] = [];
  const close = async (): Promise<void> => {
    for (const child of children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    for (const name of names) await run('ip', ['netns', 'del', namespace(name)]);
  };
  try {
    for (const name of names) await runOk('ip', ['netns', 'add', namespace(name)]);
    await runOk('ip', ['-batch', '-'], { input: batchFor('wire', namespace) });
    for (const name of ['wire', ...nodeNames, 'client', ...Object.values(podsOfNode).flat()]) {
      await runOk('ip', ['-n', namespace(name), '-batch', '-'], { input: insideBatch(name) });
    }
    const agents = {} as Record<AgentName, Agent>;
    for (const name of Object.keys(addresses) as AgentName[]) {
      const { child, agent } = await startAgent(namespace(name), name);
      children.push(child);
      agents[name] = agent;
    }
    return { agents, namespace, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The links between namespaces. */
function batchFor(wire: string, namespace: (name: string) => string): string {
  const lines: string[] = [];
  for (const name of [...nodeNames, 'client']) {
    lines.push(`link add ${name} netns ${namespace(wire)} type veth peer name eth0 netns ${namespace(name)}`);
  }
  for (const [node, pods] of Object.entries(podsOfNode)) {
    for (const pod of pods) {
      lines.push(`link add ${pod} netns ${namespace(node)} type veth peer name eth0 netns ${namespace(pod)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function insideBatch(name: string): string {
  if (name === 'wire') {
    const lines = ['link set lo up', 'link add br0 type bridge', 'link set br0 up'];
    lines.push('addr add 10.41.0.1/16 dev br0', 'addr add fd41::1/64 dev br0 nodad');
    for (const port of [...nodeNames, 'client']) {
      lines.push(`link set ${port} master br0`, `link set ${port} up`);
    }
    return `${lines.join('\n')}\n`;
  }
  const agent = name as AgentName;
  return [
    'link set lo up',
    'link set eth0 up',
    ...addressLines(agent, addresses[agent], 32, 16, '10.41.0.1', '24'),
    ...addressLines(agent, addresses6[agent], 128, 64, 'fd41::1', '64'),
    '',
  ].join('\n');
}

/** Addresses and routes of one family: Pods are attached by routing, nodes know each other's Pod ranges. */
function addressLines(
  name: AgentName,
  address: string,
  hostBits: number,
  wireBits: number,
  wireGateway: string,
  podBits: string,
): readonly string[] {
  const all = hostBits === 32 ? addresses : addresses6;
  const gatewayOf = (pod: AgentName): string => all[pod].replace(/\d+$/, '1');
  const rangeOf = (pod: AgentName): string =>
    hostBits === 32 ? all[pod].replace(/\d+$/, `0/${podBits}`) : all[pod].replace(/\d+$/, `/${podBits}`);
  const nodad = hostBits === 32 ? '' : ' nodad';
  if (name.startsWith('pod')) {
    return [
      `addr add ${address}/${hostBits} dev eth0${nodad}`,
      `route add ${gatewayOf(name)} dev eth0`,
      `route add default via ${gatewayOf(name)} dev eth0`,
    ];
  }
  const lines = [
    `addr add ${address}/${wireBits} dev eth0${nodad}`,
    `route add default via ${wireGateway} dev eth0`,
  ];
  for (const [node, pods] of Object.entries(podsOfNode)) {
    if (node !== name) {
      if (name !== 'client') lines.push(`route add ${rangeOf(pods[0])} via ${all[node as NodeName]}`);
      continue;
    }
    for (const pod of pods) {
      lines.push(`addr add ${gatewayOf(pod)}/${hostBits} dev ${pod}${nodad}`, `link set ${pod} up`);
      lines.push(`route add ${all[pod]} dev ${pod}`);
    }
  }
  return lines;
}

async function startAgent(
  namespace: string,
  name: AgentName,
): Promise<{ readonly child: ChildProcessWithoutNullStreams; readonly agent: Agent }> {
  const ports = name.startsWith('pod')
    ? [podPort, otherPodPort]
    : name === 'client'
      ? [outsidePort, clientPort]
      : [outsidePort];
  return startAgentIn(namespace, name, ports);
}

/** Ends with its child. */
export async function startAgentIn(
  namespace: string,
  name: string,
  ports: readonly number[],
): Promise<{ readonly child: ChildProcessWithoutNullStreams; readonly agent: Agent }> {
  const script = fileURLToPath(new URL('l4-agent.ts', import.meta.url));
  const args = ['netns', 'exec', namespace, process.execPath, script, name, ...ports.map(String)];
  const child = spawn('ip', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const errors: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk));
  const waiting = new Map<number, (text: string) => void>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const reply = JSON.parse(line) as AgentReply;
    waiting.get(reply.id)?.(reply.text);
    waiting.delete(reply.id);
  });
  child.once('close', () => {
    for (const resolve of waiting.values()) resolve(`agent ended: ${Buffer.concat(errors).toString()}`);
  });
  const ready = await new Promise<string>((resolve) => waiting.set(0, resolve));
  if (ready !== 'ready') throw new Error(ready);
  let lastId = 0;
  const ask = (request: OpOf<AgentRequest>): Promise<string> =>
    new Promise((resolve) => {
      const id = ++lastId;
      waiting.set(id, resolve);
      child.stdin.write(`${JSON.stringify({ ...request, id })}\n`);
    });
  return {
    child,
    agent: {
      tcp: (host, to, waitMs = answerTimeoutMs) => ask({ op: 'tcp', host, port: to, waitMs }),
      udp: (host, to, localPort = 0) => ask({ op: 'udp', host, port: to, localPort }),
      http: (host, to, waitMs = answerTimeoutMs) => ask({ op: 'http', host, port: to, waitMs }),
      open: (as, host, to) => ask({ op: 'open', name: as, host, port: to }),
      say: (as, text) => ask({ op: 'say', name: as, text }),
    },
  };
}

type OpOf<T> = T extends unknown ? Omit<T, 'id'> : never;
