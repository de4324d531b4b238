import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

const mountPoint = '/sys/fs/cgroup';

/**
 * Removes a Pod's control group, which the runtime makes as the parent of its containers' and leaves behind: one folder
 * with cgroup v2, one below every controller with v1. Groups that still hold processes stay.
 */
export async function removeCgroup(path: string): Promise<void> {
  const controllers = await readdir(mountPoint, { withFileTypes: true }).catch(() => []);
  const roots = [
    mountPoint,
    ...controllers.filter((entry) => entry.isDirectory()).map(({ name }) => join(mountPoint, name)),
  ];
  for (const root of roots) await removeTree(join(root, path));
}

async function removeTree(dir: string): Promise<void> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return; // not there
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(dir, entry.name));
  await rmdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'EBUSY') throw error;
  });
}
