import { globSync, readFileSync, rmSync } from 'node:fs';

/**
 * Removes the sockets of killed containerd shims. They lie in /run/containerd/s, whatever containerd's own folders are, and
 * only a shim that ends by itself removes its own. Call after the shims have ended, while `runDir` still is there.
 */
export function removeShimSockets(runDir: string): void {
  for (const file of globSync(`${runDir}/nodes/*/containerd/io.containerd.runtime.v2.task/*/*/address`)) {
    const socket = shimSocketOf(readFileSync(file, 'utf8'));
    if (socket !== undefined) rmSync(socket, { force: true });
  }
}

/** The path in the text of a shim's `address` file; undefined where it is no path that containerd makes. */
export function shimSocketOf(address: string): string | undefined {
  const match = /^unix:\/\/(\/run\/containerd\/s\/[0-9a-f]{64})\s*$/.exec(address);
  return match?.[1];
}
