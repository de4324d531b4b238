import type { ObjectKey } from '../api/object.ts';
import type { Logger } from '../base/log.ts';
import type { IpFamily } from '../base/ip.ts';
import { type MapChange, PersistentMap } from '../base/persistent-map.ts';
import type { NodeView, ServiceView } from '../model/view.ts';
import { type Nft, NftError } from './apply.ts';
import { type CompileOptions, compileRuleset } from './compile.ts';
import { type Conntrack, forgetFlows } from './conntrack.ts';
import { diffElements, diffRulesets, isEmptyChange } from './diff.ts';
import type { KernelTable } from './listing.ts';
import { renderCanonical, renderChange, renderFull, tableFamily } from './render.ts';
import { elementsOf, type Ruleset, type RulesetProblem } from './ruleset.ts';
import { type StaleFlowScope, staleUdpFlows } from './udp-flows.ts';

/** What a sync did to the kernel. `full`: replaced the table; `change`: some elements; `none`: it was right already. */
export type SyncKind = 'none' | 'change' | 'full';

/** Words for a condition. */
export type SctpLack = { readonly reason: string; readonly message: string };

const kernelWithoutSctp: SctpLack = {
  reason: 'KernelWithoutSCTP',
  message: 'the kernel does not track SCTP (CONFIG_NF_CT_PROTO_SCTP)',
};

/** Flows that were ended. */
export type FlowCounts = Readonly<Record<IpFamily, number>>;

export type Dataplane = {
  /** Makes traffic follow `view`. Rejects when it could not; the next call then starts from nothing. */
  sync(view: NodeView, options: CompileOptions, signal: AbortSignal): Promise<SyncKind>;
  /**
   * Ends UDP flows that syncs have made stale. Returns how many of each family. A sync may go on meanwhile; two calls may not. What
   * it rejects with or could not do, the next call does.
   */
  forgetStaleFlows(signal: AbortSignal): Promise<FlowCounts>;
  /** Compares what is there with what was applied. False: somebody changed it, the next sync replaces it. */
  verify(signal: AbortSignal): Promise<boolean>;
  /** Why this node does not serve ports of protocol SCTP; undefined: it does. */
  sctpLack(): Promise<SctpLack | undefined>;
  /** What was applied last, as stable text. */
  describe(): string;
  /** Ends what must not outlive the proxy. Rules in the kernel stay. */
  close(): Promise<void>;
};

/** One family's table. */
type TableState = {
  readonly family: IpFamily;
  /** The last that was compiled; saves work, says nothing of the kernel. */
  compiled: Ruleset | undefined;
  /** What the kernel has; undefined: not known, so the whole table is replaced. */
  applied: Ruleset | undefined;
  /** Nobody else made a transaction since this table was as `applied` says. */
  intact: boolean;
  /** Rules of chains as the kernel listed them first. nft prints them in its own words, so ours are no reference. */
  readonly chainTexts: Map<string, string>;
  /** False: there may be chains that are not in `chainTexts` yet. */
  chainsLearned: boolean;
  /** Those of the last look at the flows. */
  udpFronts: Ruleset['udpFronts'];
  udpDirty: boolean;
  reported: Ruleset['problems'];
};

/** Told once of each thing that a Service asks for and does not get. */
export type ReportProblem = (problem: RulesetProblem) => void;

export type DataplanePorts = {
  readonly nft: Nft;
  readonly conntrack: Conntrack;
  readonly report: ReportProblem;
};

/** By nftables. */
export function createDataplane(
  log: Logger,
  { nft, conntrack, report }: DataplanePorts,
  families: readonly IpFamily[],
): Dataplane & { readonly rulesets: readonly Ruleset[] } {
  const tables = families.map(newTable);
  const rules: Rules = { log, nft, report, tables, generation: undefined };
  let seen: NodeView['services'] = PersistentMap.empty();
  let scope: FlowScope = { serviceCidrs: [], nodeAddresses: [] };
  return {
    get rulesets() {
      return tables.flatMap((table) => table.applied ?? []);
    },
    describe: () =>
      tables.flatMap(({ applied }) => (applied === undefined ? [] : renderCanonical(applied))).join('\n'),
    close: () => Promise.resolve(),
    sctpLack: async () => ((await conntrack.tracksSctp()) ? undefined : kernelWithoutSctp),
    async sync(view, options, signal) {
      let kind: SyncKind = 'none';
      for (const table of tables) {
        const done = await syncTable(rules, table, view, options, signal);
        if (done === 'full' || kind === 'none') kind = done;
      }
      await reportSctp(PersistentMap.changes(seen, view.services), conntrack, report);
      seen = view.services;
      scope = { serviceCidrs: options.serviceCidrs, nodeAddresses: view.node.addresses };
      return kind;
    },
    async forgetStaleFlows(signal) {
      const counts = { 4: 0, 6: 0 };
      for (const table of tables) {
        if (!table.udpDirty) continue;
        table.udpDirty = false;
        try {
          counts[table.family] += await forgetIn(table, conntrack, () => scope, signal);
        } catch (error) {
          table.udpDirty = true;
          throw error;
        }
      }
      return counts;
    },
    verify: (signal) => verifyTables(rules, signal),
  };
}

const differencesReportedMax = 10;

/** The tables and the kernel that has them. */
type Rules = {
  readonly log: Logger;
  readonly nft: Nft;
  readonly report: ReportProblem;
  readonly tables: readonly TableState[];
  /** The kernel's count of transactions at our last look; while it stays, `intact` tables are. */
  generation: number | undefined;
};

/** Compares with the kernel what others may have touched, and learns the words of chains that are new. */
async function verifyTables(rules: Rules, signal: AbortSignal): Promise<boolean> {
  const { log, nft } = rules;
  lookForOthers(rules);
  let intact = true;
  for (const table of rules.tables) {
    const { applied } = table;
    if (applied === undefined || (table.intact && table.chainsLearned)) continue;
    const parts = table.intact ? 'chains' : 'all';
    if (!table.intact && table.chainTexts.size === 0 && rules.generation !== undefined) {
      // Somebody was faster than our first look at the new table: what is there now is no reference for what should be.
      log.info('somebody changed nftables rules while our table was new, it is replaced', {
        family: tableFamily(table.family),
      });
      table.applied = undefined;
      intact = false;
      continue;
    }
    const kernel = await nft.read(table.family, signal, parts);
    const { generation } = rules;
    // Somebody was at it while it was read: the words of chains in it may be theirs, so it is read again at the next look.
    if (lookForOthers(rules) !== generation) continue;
    const differences = compareTable(table, applied, kernel, parts);
    table.chainsLearned = true;
    table.intact = differences.length === 0;
    if (table.intact) continue;
    intact = false;
    table.applied = undefined;
    log.warn('somebody changed our nftables table, it will be replaced', {
      family: tableFamily(table.family),
      differences: differences.slice(0, differencesReportedMax),
    });
  }
  return intact;
}

/** Somebody else made a transaction since our last look: what it touched is not known. */
function lookForOthers(rules: Rules): number | undefined {
  const now = rules.nft.generation();
  if (now === undefined || now !== rules.generation) {
    for (const table of rules.tables) table.intact = false;
  }
  rules.generation = now;
  return now;
}

/** Runs a script of ours; if `whole`, it replaces the table. */
async function transact(
  rules: Rules,
  table: TableState,
  script: string,
  kind: 'change' | 'whole',
  signal: AbortSignal,
): Promise<void> {
  const before = lookForOthers(rules);
  await rules.nft.run(script, signal);
  if (kind === 'whole') table.intact = true;
  const expected = before === undefined ? undefined : (before + 1) >>> 0 || 1; // the kernel leaves 0 out
  rules.generation = expected;
  lookForOthers(rules);
}

function newTable(family: IpFamily): TableState {
  return {
    family,
    compiled: undefined,
    applied: undefined,
    intact: false,
    chainTexts: new Map(),
    chainsLearned: false,
    udpFronts: PersistentMap.empty(),
    udpDirty: false,
    reported: PersistentMap.empty(),
  };
}

async function syncTable(
  rules: Rules,
  table: TableState,
  view: NodeView,
  options: CompileOptions,
  signal: AbortSignal,
): Promise<SyncKind> {
  const { log, report } = rules;
  const wanted = compileRuleset(view, table.family, options, table.compiled);
  table.compiled = wanted;
  reportProblems(table, report, wanted.problems);
  const { applied } = table;
  table.applied = undefined; // until the kernel has taken the script we trust nothing
  if (applied !== undefined) {
    const change = diffRulesets(applied, wanted);
    if (isEmptyChange(change)) {
      table.applied = wanted;
      return 'none';
    }
    try {
      await transact(rules, table, renderChange(change), 'change', signal);
      if (change.chainsToAdd.length > 0) table.chainsLearned = false;
      for (const chain of change.chainsToDelete) table.chainTexts.delete(chain.name);
      table.udpDirty ||= applied.udpFronts !== wanted.udpFronts;
      table.applied = wanted;
      return 'change';
    } catch (error) {
      if (!(error instanceof NftError) || error.code !== 'refused') throw error;
      log.warn('the kernel refused a change, replacing the whole table', { error });
    }
  }
  const script = renderFull(wanted, await rememberedClients(rules, wanted, signal));
  await transact(rules, table, script, 'whole', signal);
  table.chainTexts.clear();
  table.chainsLearned = false;
  table.udpDirty = true;
  table.applied = wanted;
  return 'full';
}

/** Clients with session affinity keep their endpoints over a replacement of the table, so over a restart of the proxy too. */
async function rememberedClients(
  { log, nft }: Rules,
  wanted: Ruleset,
  signal: AbortSignal,
): Promise<KernelTable['clients']> {
  const remembering = wanted.chains.values().filter((chain) => chain.affinityTimeoutSeconds !== undefined);
  const used = new Set(remembering.map(({ space }) => space));
  try {
    const clients = [...used].map((space) => nft.readClients(wanted.family, `${space}_clients`, signal));
    return (await Promise.all(clients)).flat();
  } catch (error) {
    if (!(error instanceof NftError) || error.code === 'missing') throw error;
    log.warn('session affinity starts anew', { error });
    return [];
  }
}

/** Each problem when it comes, not again while it stays. */
function reportProblems(table: TableState, report: ReportProblem, problems: Ruleset['problems']): void {
  for (const { old = [], now = [] } of PersistentMap.changes(table.reported, problems)) {
    const known = new Set(old.map(({ message }) => message));
    for (const problem of now) if (!known.has(problem.message)) report(problem);
  }
  table.reported = problems;
}

/** The rules for SCTP are taken by every kernel, but only one that tracks it follows them: users should hear of it. */
async function reportSctp(
  changes: readonly MapChange<ObjectKey, ServiceView>[],
  conntrack: Conntrack,
  report: ReportProblem,
): Promise<void> {
  for (const { key, old, now } of changes) {
    const had = new Set(sctpPorts(old));
    const fresh = sctpPorts(now).filter((port) => !had.has(port));
    if (fresh.length === 0 || (await conntrack.tracksSctp())) continue;
    const message = `the kernel does not track SCTP: port ${fresh.join(', ')} is not served`;
    report({ service: key, reason: 'SCTPNotSupported', message });
  }
}

function sctpPorts(service: ServiceView | undefined): readonly number[] {
  return (service?.ports ?? []).flatMap(({ facts }) => (facts.protocol === 'SCTP' ? [facts.port] : []));
}

type FlowScope = Pick<StaleFlowScope, 'serviceCidrs' | 'nodeAddresses'>;

/** Flows are judged by the rules that the kernel has when they have been read, since a sync may go on meanwhile. */
async function forgetIn(
  table: TableState,
  conntrack: Conntrack,
  scope: () => FlowScope,
  signal: AbortSignal,
): Promise<number> {
  if (table.applied?.udpFronts.size === 0 && table.udpFronts.size === 0) return 0;
  const flows = await conntrack.udpFlows(table.family, signal);
  const { applied } = table;
  if (applied === undefined) {
    table.udpDirty = true; // in the middle of a change: it is followed by another look
    return 0;
  }
  const { udpFronts: fronts } = applied;
  const removedFronts = PersistentMap.changes(table.udpFronts, fronts)
    .filter(({ now }) => now === undefined)
    .map(({ key }) => key);
  table.udpFronts = fronts;
  const stale = staleUdpFlows(flows, { fronts, removedFronts, ...scope() });
  return forgetFlows(conntrack, table.family, stale, signal);
}

/** What differs between the kernel's table and ours, in words. Chains seen for the first time are remembered as right. */
function compareTable(
  table: TableState,
  applied: Ruleset,
  kernel: KernelTable,
  parts: 'all' | 'chains',
): readonly string[] {
  const wanted = parts === 'chains' ? kernel.elements : elementsOf(applied);
  const { toDelete, toAdd } = diffElements(kernel.elements, wanted);
  const differences = [
    ...toAdd.map((element) => `missing: ${element.set} ${element.key} ${element.value}`),
    ...toDelete.map((element) => `not ours: ${element.set} ${element.key} ${element.value}`),
  ];
  for (const [name, text] of kernel.chains) {
    const known = table.chainTexts.get(name);
    if (known === undefined) table.chainTexts.set(name, text);
    else if (known !== text) differences.push(`chain ${name} has other rules`);
  }
  for (const name of [...applied.chains.keys(), ...table.chainTexts.keys()]) {
    if (!kernel.chains.has(name)) differences.push(`missing: chain ${name}`);
  }
  return differences;
}
