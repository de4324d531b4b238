/** A network namespace of this process's own, for tests and benchmarks that call the kernel in this process. */

const cloneNewNet = 0x4000_0000; // CLONE_NEWNET of linux/sched.h

/**
 * Moves the main thread, and all that it spawns from now on, into a new network namespace that ends with the process. Returns
 * why not, or undefined when it is done. There is no way back.
 */
export async function enterNewNetworkNamespace(): Promise<string | undefined> {
  try {
    const { default: ffi } = await import('node:ffi');
    const { functions } = ffi.dlopen('libc.so.6', { unshare: { arguments: ['int32'], return: 'int32' } });
    return functions.unshare(cloneNewNet) === 0 ? undefined : 'needs permission to make a network namespace';
  } catch {
    return 'needs a Node.js with node:ffi';
  }
}
