/** How long the kernel takes for a whole table and for one change, and what they cost in memory. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createSpawnedNft, type Nft } from '../../src/l4/apply.ts';
import { type CompileOptions, compileRuleset } from '../../src/l4/compile.ts';
import { diffRulesets } from '../../src/l4/diff.ts';
import { openLibraryNft } from '../../src/l4/libnftables.ts';
import { renderChange, renderFull, renderRemoval } from '../../src/l4/render.ts';
import type { Ruleset } from '../../src/l4/ruleset.ts';
import { buildNodeView, type NodeFacts } from '../../src/model/view.ts';
import { sliceOf } from '../../test/support/services.ts';
import { median } from '../lib/report.ts';
import {
  chainPerEndpointChange,
  chainPerEndpointRuleset,
  clusterCidrs,
  clusterOf,
  endpointIpsOf,
  serviceCidrs,
} from './cluster.ts';

export const node: NodeFacts = {
  name: 'node-0',
  zone: '',
  addresses: ['10.41.0.2'],
  podCidrs: ['10.44.0.0/24'],
};
export const compileOptions: CompileOptions = { clusterCidrs, serviceCidrs, clusterNodeAddresses: [] };
export const { signal } = new AbortController();
export const tool = createSpawnedNft();

/** A load of the rival's ruleset that takes longer is given up, ms; larger ones are not tried then. */
export const rivalLoadMsMax = 20_000;
const changes = 20;

export type RulesetFigures = {
  readonly services: number;
  readonly compileMs: number;
  readonly loadMs: number;
  readonly toolChangeMs: number;
  /** NaN where libnftables cannot be called. */
  readonly libraryChangeMs: number;
  readonly heapMb: number;
  readonly kernelMb: number;
  /** undefined: not loaded within `rivalLoadMsMax`, or not tried. */
  readonly rival: RivalFigures | undefined;
};

export type RivalFigures = { readonly loadMs: number; readonly changeMs: number; readonly kernelMb: number };

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapMb(): number {
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}

/** Kernel memory that is not cache, of the whole machine: only differences over a load mean something. */
function kernelMb(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  const kb = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return (kb('SUnreclaim') + kb('Percpu')) / 1024;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** One endpoint of Service `index` replaced by another and back, by turns. */
async function changeMs(nft: Nft, before: Ruleset, after: Ruleset): Promise<number> {
  const scripts = [renderChange(diffRulesets(before, after)), renderChange(diffRulesets(after, before))];
  const times: number[] = [];
  for (let round = 0; round < changes; round++) {
    times.push(await timed(() => nft.run(scripts[round % 2] ?? '', signal)));
  }
  return median(times);
}

export function rulesetOf(services: number): { readonly ruleset: Ruleset; readonly changed: Ruleset } {
  const cluster = clusterOf(services);
  const ruleset = compileRuleset(buildNodeView(cluster.services, cluster.slices, node), 4, compileOptions);
  const index = services >> 1;
  const moved = cluster.slices.with(
    index,
    sliceOf(`web-${index}`, ['10.47.255.1', ...endpointIpsOf(index).slice(1)]),
  );
  const view = buildNodeView(cluster.services, moved, node);
  return { ruleset, changed: compileRuleset(view, 4, compileOptions) };
}

export async function measureRuleset(
  services: number,
  { withRival }: { readonly withRival: boolean },
): Promise<RulesetFigures> {
  const heapBefore = heapMb();
  const cluster = clusterOf(services);
  const view = buildNodeView(cluster.services, cluster.slices, node);
  const compileStartMs = performance.now();
  compileRuleset(view, 4, compileOptions);
  const compileMs = performance.now() - compileStartMs;
  const { ruleset, changed } = rulesetOf(services);
  const heapAfter = heapMb();
  const script = renderFull(ruleset);
  const kernelBefore = kernelMb();
  const loadMs = await timed(() => tool.run(script, signal));
  const kernelAfter = kernelMb();
  const toolChangeMs = await changeMs(tool, ruleset, changed);
  const library = await openLibraryNft().catch(() => undefined);
  const libraryChangeMs = library === undefined ? Number.NaN : await changeMs(library, ruleset, changed);
  library?.close();
  await tool.run(renderRemoval(4), signal);
  return {
    services,
    compileMs,
    loadMs,
    toolChangeMs,
    libraryChangeMs,
    heapMb: (heapAfter - heapBefore) / 2,
    kernelMb: kernelAfter - kernelBefore,
    rival: withRival ? await measureRival(services) : undefined,
  };
}

async function measureRival(services: number): Promise<RivalFigures | undefined> {
  const kernelBefore = kernelMb();
  let isLoaded = false;
  const tookMs = await timed(async () => {
    isLoaded = await loadRival(services);
  });
  const loadMs = isLoaded ? tookMs : undefined;
  try {
    if (loadMs === undefined) return undefined;
    const loadedMb = kernelMb() - kernelBefore;
    const index = services >> 1;
    const [first = ''] = endpointIpsOf(index);
    const other = '10.47.255.1';
    const times: number[] = [];
    for (let round = 0; round < changes; round++) {
      const [from, to] = round % 2 === 0 ? [first, other] : [other, first];
      times.push(await timed(() => tool.run(chainPerEndpointChange(index, from, to), signal)));
    }
    return { loadMs, changeMs: median(times), kernelMb: loadedMb };
  } finally {
    await removeRival();
  }
}

/** False when it took too long, at any try: the kernel may have it or not then. */
export async function loadRival(services: number): Promise<boolean> {
  try {
    await tool.run(chainPerEndpointRuleset(services), AbortSignal.timeout(rivalLoadMsMax));
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'TimeoutError') return false;
    throw error;
  }
}

export function removeRival(): Promise<void> {
  return tool.run('add table ip rival\ndelete table ip rival\n', signal);
}
