import { flushCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How long a component runs before it has started for good, ms. It may end by SIGKILL later. */
const startMs = 4_000;

/** A component is at rest when within this time, ms, … */
const lookMs = 1_000;
/** … it took less of a processor than this, ms. */
const restCpuMs = 50;

/**
 * Once a component runs: writes its compiled code to the cache, and, as soon as it is at rest, gives back what only the start needed. The
 * runtime collects garbage when much is allocated, which a component at rest never does: without this each would keep about 10 MB
 * of its start for ever. One that works collects by itself, and whom it serves would wait for a thorough collection: some 50 ms.
 */
export function tidyUpAfterStart(): void {
  setTimeout(() => {
    flushCompileCache();
    atRest(cpuMs, collectGarbage);
  }, startMs).unref();
}

/** CPU time that the process has taken, ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Calls back once, when little of `usedMs` has been added for a while. */
export function atRest(usedMs: () => number, callback: () => void): void {
  const before = usedMs();
  setTimeout(() => {
    if (usedMs() - before < restCpuMs) callback();
    else atRest(usedMs, callback);
  }, lookMs).unref();
}

/** As V8 does it before it gives up for want of memory: other collections keep the pages that they have emptied. */
const thorough = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc'); // with it, code that is loaded later would not be found in the compile cache
  if (typeof collect === 'function') collect(thorough);
}
