import { readFileSync } from 'node:fs';
import ffi from 'node:ffi';

const MNT_DETACH = 2;

/** Mount points at or below a directory, innermost and newest first, from the text of /proc/self/mountinfo. */
export function mountsBelow(mountinfo: string, dir: string): readonly string[] {
  return mountinfo
    .split('\n')
    .map((line) => unescapePath(line.split(' ')[4] ?? ''))
    .filter((path) => path === dir || path.startsWith(`${dir}/`))
    .toReversed();
}

/** The kernel writes space, tab, newline and backslash of a path as three octal digits (proc_pid_mountinfo(5)). */
function unescapePath(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** Takes all mounts at or below a directory away. Busy ones vanish from the tree now and are freed with their last user. */
export function unmountBelow(dir: string): void {
  const paths = mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dir);
  if (paths.length === 0) return;
  const library = ffi.dlopen('libc.so.6', { umount2: { arguments: ['uint64', 'int32'], return: 'int32' } });
  const { umount2 } = library.functions as unknown as { umount2: (path: bigint, flags: number) => number };
  for (const path of paths) {
    const text = Buffer.from(`${path}\0`);
    umount2(ffi.getRawPointer(text), MNT_DETACH); // one that is gone already is what we want
  }
  const left = mountsBelow(readFileSync('/proc/self/mountinfo', 'utf8'), dir);
  if (left.length > 0) throw new Error(`cannot unmount ${left.join(', ')}`);
}
