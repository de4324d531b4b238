import { createSocket } from 'node:dgram';
import { writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { canonicalIp, formatCidr, type IpFamily } from '../../base/ip.ts';
import type { Logger } from '../../base/log.ts';
import type { NodeView } from '../../model/view.ts';
import { runTool } from '../apply.ts';
import { textFamily } from '../claims.ts';
import type { CompileOptions } from '../compile.ts';
import type { Dataplane, ReportProblem, SctpLack, SyncKind } from '../dataplane.ts';
import type { RulesetProblem } from '../ruleset.ts';
import { Balancer } from './balance.ts';
import { type Front, frontsMax, insideRanges, planFronts } from './fronts.ts';
import type { Relay } from './relay.ts';
import { type Listener, listen, type Shared, socketLimits } from './sockets.ts';

/** Routes that make the node take a range's packets for its own. */
export interface LocalRoutes {
  /** Rejects where that is not allowed. */
  add(range: string, signal: AbortSignal): Promise<void>;
  remove(range: string): Promise<void>;
}

/** By ip(8); `command` as in createSpawnedNft. */
export function createSpawnedRoutes(command: readonly string[] = ['ip']): LocalRoutes {
  const change = async (verb: 'replace' | 'del', range: string, signal: AbortSignal): Promise<void> => {
    const family = range.includes(':') ? '-6' : '-4';
    const args = [family, 'route', verb, 'local', range, 'dev', 'lo'];
    const { status, errors } = await runTool(command, args, '', signal);
    if (status !== 0) throw new Error(`ip route ${verb} local ${range}: ${errors.trim()}`);
  };
  return {
    async add(range, signal) {
      await change('replace', range, signal);
      // Unlike IPv4, such a route is not enough for IPv6 to let a socket have the address.
      if (range.includes(':')) await writeFile('/proc/sys/net/ipv6/ip_nonlocal_bind', '1');
    },
    remove: (range) => change('del', range, new AbortController().signal),
  };
}

/** Of all interfaces; of IPv6 those that can be reached without naming one. */
export function systemAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces()).flatMap((entries) => entries ?? []);
  return all.flatMap(({ internal, address }) =>
    internal || address.startsWith('fe80:') ? [] : (canonicalIp(address) ?? []),
  );
}

export type UserspacePorts = {
  readonly routes: LocalRoutes;
  /** Carries TCP connections; undefined: sockets of this process do, at more than twice the cost. */
  readonly relay: Relay | undefined;
  /** Addresses that the machine has now, loopback and link-local ones left out. */
  readonly localAddresses: () => readonly string[];
  readonly random: () => number;
  readonly nowMs: () => number;
};

/** The state of one data plane in userspace. */
type State = {
  readonly log: Logger;
  readonly ports: UserspacePorts;
  readonly report: ReportProblem;
  readonly shared: Shared;
  readonly listeners: Map<string, Listener>;
  readonly routes: Set<string>;
  /** Why a front has no socket. */
  readonly failures: Map<string, string>;
  wanted: ReadonlyMap<string, Front>;
  wantedRanges: readonly string[];
  /** What had sockets at the end of the last pass that ended: not those of one that is half done. */
  served: readonly Front[];
  endedFlows: Record<IpFamily, number>;
  /** `service message` of the problems of the last plan. */
  reported: ReadonlySet<string>;
};

/**
 * Serves Services by sockets at their addresses, for machines without nftables: `ip route add local` makes the node take
 * packets to Service addresses, and a socket at each port joins clients with endpoints. Endpoints see the node's address.
 */
export function createUserspaceDataplane(
  log: Logger,
  ports: UserspacePorts,
  report: ReportProblem,
): Dataplane {
  const state: State = {
    log,
    ports,
    report,
    shared: {
      limits: socketLimits,
      openUdp: createSocket,
      balancer: new Balancer(ports.random, ports.nowMs),
      inside: [],
      relay: ports.relay,
      clients: new Set(),
      flows: 0,
    },
    listeners: new Map(),
    routes: new Set(),
    failures: new Map(),
    wanted: new Map(),
    wantedRanges: [],
    served: [],
    endedFlows: { 4: 0, 6: 0 },
    reported: new Set(),
  };
  return {
    async sync(view, options, signal) {
      plan(state, view, options);
      return converge(state, signal);
    },
    forgetStaleFlows() {
      const { endedFlows } = state;
      state.endedFlows = { 4: 0, 6: 0 };
      return Promise.resolve(endedFlows);
    },
    async verify(signal) {
      state.routes.clear(); // somebody may have removed them
      await converge(state, signal);
      return true;
    },
    sctpLack: () => Promise.resolve(socketsWithoutSctp),
    describe: () => state.served.map(textOfFront).toSorted().join(''),
    async close() {
      await Promise.all([...state.listeners.values()].map((listener) => listener.close()));
      for (const client of state.shared.clients) client.destroy();
      await ports.relay?.end();
      // One that is gone already is as good.
      await Promise.allSettled([...state.routes].map((range) => ports.routes.remove(range)));
    },
  };
}

const socketsWithoutSctp: SctpLack = {
  reason: 'UserspaceProxy',
  message: 'the service proxy works without nftables, by sockets for TCP and UDP',
};

function plan(state: State, view: NodeView, options: CompileOptions): void {
  const { fronts, localRanges, problems } = planFronts(view, options, state.ports.localAddresses());
  state.shared.inside = insideRanges(view, options);
  state.ports.relay?.inside(state.shared.inside);
  state.wanted = fronts;
  state.wantedRanges = localRanges;
  const known = state.reported;
  const textOf = ({ service, message }: RulesetProblem): string => `${service} ${message}`;
  const fresh = problems.filter((problem) => !known.has(textOf(problem)));
  for (const problem of fresh.slice(0, problemsReportedMax)) state.report(problem);
  state.reported = new Set(problems.map(textOf));
}

const problemsReportedMax = 20;

/** Makes routes and sockets those that are wanted. What fails is told once and tried again at the next pass. */
async function converge(state: State, signal: AbortSignal): Promise<SyncKind> {
  const { listeners, wanted, shared } = state;
  await convergeRoutes(state, signal);
  let changed = false;
  const closing: Promise<void>[] = [];
  for (const [id, listener] of listeners) {
    if (wanted.has(id)) continue;
    listeners.delete(id);
    changed = true;
    closing.push(listener.close());
  }
  await Promise.all(closing);
  const opening: Promise<void>[] = [];
  for (const [id, front] of wanted) {
    const listener = listeners.get(id);
    if (listener !== undefined) {
      if (sameFront(listener.front, front)) continue;
      changed = true;
      state.endedFlows[textFamily(front.address)] += listener.update(front);
    } else opening.push(open(state, front, shared));
  }
  changed ||= opening.length > 0;
  await Promise.all(opening); // bound: frontsMax
  state.served = [...listeners.values()].map(({ front }) => front);
  for (const id of state.failures.keys()) if (!wanted.has(id)) state.failures.delete(id);
  return changed ? 'change' : 'none';
}

async function convergeRoutes(state: State, signal: AbortSignal): Promise<void> {
  const { ports, log, routes } = state;
  for (const range of routes) {
    if (state.wantedRanges.includes(range)) continue;
    routes.delete(range);
    await ports.routes.remove(range).catch(() => {}); // gone already is as good
  }
  for (const range of state.wantedRanges) {
    if (routes.has(range)) continue;
    try {
      await ports.routes.add(range, signal);
      routes.add(range);
      state.failures.delete(range);
    } catch (error) {
      signal.throwIfAborted();
      if (!state.failures.has(range)) {
        log.warn(`addresses of ${range} cannot be served without the capability NET_ADMIN`, { error });
      }
      state.failures.set(range, String(error));
    }
  }
}

async function open(state: State, front: Front, shared: Shared): Promise<void> {
  try {
    state.listeners.set(front.id, await listen(front, shared));
    state.failures.delete(front.id);
  } catch (error) {
    const text = String(error);
    if (state.failures.get(front.id) === text) return;
    if (state.failures.size < frontsMax) state.failures.set(front.id, text);
    if (state.failures.size > problemsReportedMax) return;
    state.log.warn(`cannot listen at ${front.id}, it is tried again`, { service: front.service, error });
  }
}

function textOfFront({ id, inside }: Front): string {
  return `${id} : ${inside.map(({ address, port }) => `${address} ${port}`).join(', ')}\n`;
}

function sameFront(a: Front, b: Front): boolean {
  const textOf = ({ inside, outside, sourceRanges, affinityTimeoutSeconds, serving }: Front): string =>
    JSON.stringify([inside, outside, sourceRanges.map(formatCidr), affinityTimeoutSeconds, ...serving]);
  return textOf(a) === textOf(b);
}
