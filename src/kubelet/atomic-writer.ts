import {
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { VolumeFile } from './volume-files.ts';

/** The link that one rename moves to the new content, so that a reader sees all of the old or all of the new files. */
const dataLink = '..data';

/**
 * Makes `dir` hold exactly `files`, in the layout that Kubernetes' volumes have: `NAME → ..data/NAME`,
 * `..data → ..REVISION`, the content below `..REVISION`. Returns false when the content was the same already.
 * `revision` must differ from all revisions that are in the folder. `groupId`: owner of the files, who may then read.
 */
export async function writeVolume(
  dir: string,
  files: readonly VolumeFile[],
  revision: string,
  groupId: number | undefined,
): Promise<boolean> {
  await mkdir(dir, { recursive: true, mode: 0o755 });
  const old = await readlink(join(dir, dataLink)).catch(() => undefined);
  if (old !== undefined && (await hasContent(join(dir, old), files))) return false;
  const fresh = `..${revision}`;
  for (const file of files) {
    const path = join(dir, fresh, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    await writeFile(path, file.data);
    await chmod(path, groupId === undefined ? file.mode : file.mode | 0o040);
    if (groupId !== undefined) await chown(path, 0, groupId);
  }
  await mkdir(join(dir, fresh), { recursive: true, mode: 0o755 });
  await rm(join(dir, '..data_tmp'), { force: true });
  await symlink(fresh, join(dir, '..data_tmp'));
  await rename(join(dir, '..data_tmp'), join(dir, dataLink));
  await linkTopLevel(dir, files);
  if (old !== undefined) await rm(join(dir, old), { recursive: true, force: true });
  return true;
}

async function linkTopLevel(dir: string, files: readonly VolumeFile[]): Promise<void> {
  const wanted = new Set(files.map((file) => file.path.split('/')[0] ?? file.path));
  const present = new Set((await readdir(dir)).filter((name) => !name.startsWith('..')));
  for (const name of wanted) if (!present.has(name)) await symlink(join(dataLink, name), join(dir, name));
  for (const name of present) if (!wanted.has(name)) await rm(join(dir, name), { force: true });
}

async function hasContent(dir: string, files: readonly VolumeFile[]): Promise<boolean> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
  if (entries.filter((entry) => entry.isFile()).length !== files.length) return false;
  for (const file of files) {
    const present = await readFile(join(dir, file.path)).catch(() => undefined);
    if (present === undefined || !present.equals(file.data)) return false;
  }
  return true;
}
