import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { containerStates } from './cri-messages.ts';
import type { Cri } from './cri.ts';

/** A container's log is renamed away at this size; so much and the newest files stay. Kubernetes' defaults. */
const logBytesMax = 10 * 1024 * 1024;
const logFilesMax = 5;
/** Between two looks at all log sizes, ms. A log may grow past its bound for this long. */
const checkMs = 10_000;

/** Keeps the logs of running containers within bounds until the signal aborts. */
export async function runLogRotation(
  cri: Cri,
  clock: Clock,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(checkMs, signal).catch(() => {}); // aborted: the loop ends
    if (signal.aborted) return;
    try {
      await rotateAll(cri, clock);
    } catch (error) {
      log.warn('container logs could not be rotated', { error });
    }
  }
}

async function rotateAll(cri: Cri, clock: Clock): Promise<void> {
  const { containers } = await cri.listContainers({});
  for (const { id, state } of containers) {
    if (state !== containerStates.running) continue;
    const { status } = await cri.containerStatus({ containerId: id });
    const path = status?.logPath ?? '';
    const size = path === '' ? 0 : ((await stat(path).catch(() => undefined))?.size ?? 0);
    if (size < logBytesMax) continue;
    await removeOldest(path);
    const stamp = new Date(clock.nowMs()).toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
    await rename(path, `${path}.${stamp}`);
    await cri.reopenContainerLog({ containerId: id });
  }
}

async function removeOldest(path: string): Promise<void> {
  const prefix = `${basename(path)}.`;
  const rotated = (await readdir(dirname(path))).filter((name) => name.startsWith(prefix)).toSorted();
  for (const name of rotated.slice(0, Math.max(0, rotated.length - (logFilesMax - 2)))) {
    await rm(join(dirname(path), name), { force: true });
  }
}
