import type { Json } from '../../api/object.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { readBounded } from '../bounded-body.ts';
import type { KubeletLink } from '../kubelet-link.ts';
import { hasNewContainers, type PodUsage, type Samples, samplesOf, usageBetween } from './rates.ts';

/** Measures what the Pods of nodes use, when somebody asks: nothing is counted for nobody. */

/** A shorter time says nothing, ms. Who asks first, or of a Pod that is new, waits so long for the second look. */
const windowMsMin = 1_000;
/** A longer one says too little of now, ms. */
const windowMsMax = 60_000;
/** For one node's summary, ms. */
const summaryTimeoutMs = 5_000;
const summaryBytesMax = 8 * 1024 * 1024;

/** What a node's Pods used, by `namespace/pod`. */
export type NodeUsage = {
  readonly measuredMs: number;
  readonly windowMs: number;
  readonly pods: ReadonlyMap<string, PodUsage>;
};

export type UsageMeter = {
  /** Undefined where the kubelet does not answer. */
  measure(nodeName: string): Promise<NodeUsage | undefined>;
  /** Forgets the nodes that are not named. */
  keep(nodeNames: ReadonlySet<string>): void;
};

type Look = { readonly atMs: number; readonly samples: Samples };

export function createUsageMeter(kubelets: Pick<KubeletLink, 'get'>, clock: Clock, log: Logger): UsageMeter {
  const looks = new Map<string, Look>();
  const running = new Map<string, Promise<NodeUsage | undefined>>();

  async function look(nodeName: string): Promise<Look> {
    const timeout = AbortSignal.timeout(summaryTimeoutMs);
    const answer = await kubelets.get(nodeName, '/stats/summary', timeout);
    if (answer.statusCode !== 200) {
      answer.destroy();
      throw new Error(`the kubelet answers ${answer.statusCode}`);
    }
    const summary = await readBounded(answer, summaryBytesMax, 'the summary');
    return { atMs: clock.nowMs(), samples: samplesOf(JSON.parse(summary.toString()) as Json) };
  }

  async function measure(nodeName: string): Promise<NodeUsage | undefined> {
    try {
      let before = looks.get(nodeName);
      if (before === undefined || clock.nowMs() - before.atMs > windowMsMax) before = await look(nodeName);
      const earlyMs = before.atMs + windowMsMin - clock.nowMs();
      if (earlyMs > 0) await clock.sleep(earlyMs);
      let now = await look(nodeName);
      if (hasNewContainers(before.samples, now.samples)) {
        before = now;
        await clock.sleep(windowMsMin);
        now = await look(nodeName);
      }
      looks.set(nodeName, now);
      const pods = usageBetween(before.samples, now.samples);
      return { measuredMs: now.atMs, windowMs: now.atMs - before.atMs, pods };
    } catch (error) {
      log.debug('the usage of a node cannot be measured', { node: nodeName, error });
      return undefined;
    }
  }

  return {
    measure(nodeName) {
      const inProgress = running.get(nodeName);
      if (inProgress !== undefined) return inProgress;
      const started = measure(nodeName).finally(() => running.delete(nodeName));
      running.set(nodeName, started);
      return started;
    },
    keep(nodeNames) {
      for (const name of looks.keys()) if (!nodeNames.has(name)) looks.delete(name);
    },
  };
}
