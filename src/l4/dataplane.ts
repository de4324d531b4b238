import type { Logger } from '../base/log.ts';
import type { IpFamily } from '../base/ip.ts';
import type { NodeView } from '../model/view.ts';
import { type Nft, NftError } from './apply.ts';
import { type CompileOptions, compileRuleset } from './compile.ts';
import { type Conntrack, forgetFlows } from './conntrack.ts';
import { diffElements, diffRulesets, isEmptyChange } from './diff.ts';
import type { KernelTable } from './listing.ts';
import { renderCanonical, renderChange, renderFull, tableFamily } from './render.ts';
import { elementsOf, type Fragment, type Ruleset, type RulesetProblem } from './ruleset.ts';
import { staleUdpFlows, udpFrontsOf, type UdpFronts } from './udp-flows.ts';

/** What a sync did to the kernel. `full`: replaced the table; `change`: some elements; `none`: it was right already. */
export type SyncKind = 'none' | 'change' | 'full';

export type Dataplane = {
  /** Makes traffic follow `view`. Rejects when it could not; the next call then starts from nothing. */
  sync(view: NodeView, options: CompileOptions, signal: AbortSignal): Promise<SyncKind>;
  /** Ends UDP flows that the last sync made stale. Returns how many. */
  forgetStaleFlows(view: NodeView, options: CompileOptions, signal: AbortSignal): Promise<number>;
  /** Compares what is there with what was applied. False: somebody changed it, the next sync replaces it. */
  verify(signal: AbortSignal): Promise<boolean>;
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
  /** Rules of chains as the kernel listed them first. nft prints them in its own words, so ours are no reference. */
  readonly chainTexts: Map<string, string>;
  udpFronts: UdpFronts;
  udpDirty: boolean;
  reported: string;
};

/** By nftables. */
export function createDataplane(
  log: Logger,
  nft: Nft,
  conntrack: Conntrack,
  families: readonly IpFamily[],
): Dataplane & { readonly rulesets: readonly Ruleset[] } {
  const tables = families.map(newTable);
  return {
    get rulesets() {
      return tables.flatMap((table) => table.applied ?? []);
    },
    describe: () =>
      tables.flatMap(({ applied }) => (applied === undefined ? [] : renderCanonical(applied))).join('\n'),
    close: () => Promise.resolve(),
    async sync(view, options, signal) {
      let kind: SyncKind = 'none';
      for (const table of tables) {
        const done = await syncTable(table, log, nft, view, options, signal);
        if (done === 'full' || kind === 'none') kind = done;
      }
      return kind;
    },
    async forgetStaleFlows(view, options, signal) {
      let count = 0;
      for (const table of tables) {
        if (!table.udpDirty || table.applied === undefined) continue;
        table.udpDirty = false;
        count += await forgetIn(table, table.applied, conntrack, view, options, signal);
      }
      return count;
    },
    async verify(signal) {
      let intact = true;
      for (const table of tables) {
        if (table.applied === undefined) continue;
        const differences = compareTable(table, table.applied, await nft.read(table.family, signal));
        if (differences.length === 0) continue;
        intact = false;
        table.applied = undefined;
        log.warn('somebody changed our nftables table, it will be replaced', {
          family: tableFamily(table.family),
          differences: differences.slice(0, differencesReportedMax),
        });
      }
      return intact;
    },
  };
}

const differencesReportedMax = 10;

function newTable(family: IpFamily): TableState {
  return {
    family,
    compiled: undefined,
    applied: undefined,
    chainTexts: new Map(),
    udpFronts: new Map(),
    udpDirty: false,
    reported: '',
  };
}

async function syncTable(
  table: TableState,
  log: Logger,
  nft: Nft,
  view: NodeView,
  options: CompileOptions,
  signal: AbortSignal,
): Promise<SyncKind> {
  const wanted = compileRuleset(view, table.family, options, table.compiled);
  table.compiled = wanted;
  reportProblems(table, log, wanted.problems);
  const { applied } = table;
  table.applied = undefined; // until the kernel has taken the script we trust nothing
  if (applied !== undefined) {
    const change = diffRulesets(applied, wanted);
    if (isEmptyChange(change)) {
      table.applied = wanted;
      return 'none';
    }
    try {
      await nft.run(renderChange(change), signal);
      for (const chain of change.chainsToDelete) table.chainTexts.delete(chain.name);
      table.udpDirty ||= udpChanged(applied, wanted);
      table.applied = wanted;
      return 'change';
    } catch (error) {
      if (!(error instanceof NftError) || error.code !== 'refused') throw error;
      log.warn('the kernel refused a change, replacing the whole table', { error });
    }
  }
  await nft.run(renderFull(wanted, await rememberedClients(nft, table.family, log, signal)), signal);
  table.chainTexts.clear();
  table.udpDirty = true;
  table.applied = wanted;
  return 'full';
}

/** Clients with session affinity keep their endpoints over a replacement of the table, so over a restart of the proxy too. */
async function rememberedClients(
  nft: Nft,
  family: IpFamily,
  log: Logger,
  signal: AbortSignal,
): Promise<KernelTable['clients']> {
  try {
    return (await nft.read(family, signal)).clients;
  } catch (error) {
    if (!(error instanceof NftError) || error.code === 'missing') throw error;
    log.warn('session affinity starts anew', { error });
    return [];
  }
}

function reportProblems(table: TableState, log: Logger, problems: readonly RulesetProblem[]): void {
  const text = JSON.stringify(problems);
  if (text === table.reported) return;
  table.reported = text;
  for (const problem of problems) log.warn(problem.message, { service: problem.service });
}

function udpChanged(old: Ruleset, now: Ruleset): boolean {
  const has = (fragment: Fragment | undefined): boolean => (fragment?.udpFronts.length ?? 0) > 0;
  for (const [key, fragment] of now.fragments) {
    const known = old.fragments.get(key);
    if (known !== fragment && (has(known) || has(fragment))) return true;
  }
  for (const [key, fragment] of old.fragments) if (has(fragment) && !now.fragments.has(key)) return true;
  return false;
}

async function forgetIn(
  table: TableState,
  applied: Ruleset,
  conntrack: Conntrack,
  view: NodeView,
  options: CompileOptions,
  signal: AbortSignal,
): Promise<number> {
  const fronts = udpFrontsOf(applied);
  const removedFronts = [...table.udpFronts.keys()].filter((front) => !fronts.has(front));
  table.udpFronts = fronts;
  if (fronts.size === 0 && removedFronts.length === 0) return 0;
  const flows = staleUdpFlows(await conntrack.udpFlows(table.family, signal), {
    fronts,
    removedFronts,
    serviceCidrs: options.serviceCidrs,
    nodeAddresses: view.node.addresses,
  });
  return forgetFlows(conntrack, table.family, flows, signal);
}

/** What differs between the kernel's table and ours, in words. Chains seen for the first time are remembered as right. */
function compareTable(table: TableState, applied: Ruleset, kernel: KernelTable): readonly string[] {
  const { toDelete, toAdd } = diffElements(kernel.elements, elementsOf(applied));
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
