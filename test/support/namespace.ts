/** A network namespace of this process's own, for tests and benchmarks that call the kernel in this process. */
import { execFileSync } from 'node:child_process';

const cloneNewNet = 0x4000_0000; // CLONE_NEWNET of linux/sched.h

let entered: Promise<string | undefined> | undefined;

/**
 * Moves the main thread, and all that it spawns from now on, into a new network namespace that ends with the process. Returns
 * why not, or undefined when it is done. There is no way back; test files that run in one process share it.
 */
export function enterNewNetworkNamespace(): Promise<string | undefined> {
  entered ??= enter();
  return entered;
}

/** The same, with an address there that is none of the loopback range: an API server takes it for an endpoint. */
export async function enterNamespaceWith(address: string): Promise<string | undefined> {
  const refused = await enterNewNetworkNamespace();
  if (refused !== undefined) return refused;
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  execFileSync('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo']);
  return undefined;
}

async function enter(): Promise<string | undefined> {
  try {
    const { default: ffi } = await import('node:ffi');
    const { functions } = ffi.dlopen('libc.so.6', { unshare: { arguments: ['int32'], return: 'int32' } });
    return functions.unshare(cloneNewNet) === 0 ? undefined : 'needs permission to make a network namespace';
  } catch {
    return 'needs a Node.js with node:ffi';
  }
}
