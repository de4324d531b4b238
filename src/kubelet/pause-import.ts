import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type OciArchitecture, writeOciArchive } from '../base/oci-archive.ts';
import type { Clock } from '../base/clock.ts';
import type { Cri } from './cri.ts';
import { createPauseArchive, pauseImage } from './pause-image.ts';

const run = promisify(execFile);
/** How long CRI may take to see an imported image, ms. It hears of it by an event. */
const visibleTimeoutMs = 10_000;
const visiblePollMs = 5;

/** Makes the pause image present in containerd; quick when it is. */
export async function ensurePauseImage(
  cri: Cri,
  socket: string,
  temporaryDir: string,
  architecture: OciArchitecture,
  clock: Clock,
): Promise<void> {
  if (await isPresent(cri)) return;
  const path = join(temporaryDir, 'pause.tar');
  await writeOciArchive(createPauseArchive(architecture), path);
  await run('ctr', ['--address', socket, '--namespace', 'k8s.io', 'images', 'import', path]);
  await rm(path, { force: true });
  const startMs = clock.monotonicMs();
  while (!(await isPresent(cri))) {
    if (clock.monotonicMs() - startMs > visibleTimeoutMs)
      throw new Error(`${pauseImage} is not seen by CRI after its import`);
    await clock.sleep(visiblePollMs);
  }
}

async function isPresent(cri: Cri): Promise<boolean> {
  return (await cri.imageStatus({ image: { image: pauseImage } })).image !== undefined;
}
