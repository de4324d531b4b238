import { flushCompileCache } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How long a component runs before it has started for good, ms. It may end by SIGKILL later. */
const startMs = 5_000;

/**
 * Once a component runs: writes its compiled code to the cache, and gives back what only the start needed. The runtime collects garbage
 * when much is allocated, which a component at rest never does: without this each would keep about 10 MB of its start for ever.
 */
export function tidyUpAfterStart(): void {
  setTimeout(() => {
    flushCompileCache();
    collectGarbage();
  }, startMs).unref();
}

/** As V8 does it before it gives up for want of memory: other collections keep the pages that they have emptied. */
const thorough = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc'); // with it, code that is loaded later would not be found in the compile cache
  if (typeof collect === 'function') collect(thorough);
}
