import { readFile, statfs } from 'node:fs/promises';
import { availableParallelism, arch, release, totalmem } from 'node:os';
import type { MachineFacts } from './node-object.ts';

/** Reads what this machine is. `dataDir`: on the file system whose size counts as the node's storage. */
export async function readMachine(dataDir: string): Promise<MachineFacts> {
  const [osRelease, machineId, bootId, systemUuid, storage, selinux] = await Promise.all([
    readText('/etc/os-release'),
    readText('/etc/machine-id'),
    readText('/proc/sys/kernel/random/boot_id'),
    readText('/sys/class/dmi/id/product_uuid'),
    statfs(dataDir),
    readText('/sys/fs/selinux/enforce'), // there, with 0 or 1, while the kernel has a policy's file system
  ]);
  return {
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    storageBytes: storage.bsize * storage.blocks,
    architecture: arch() === 'arm64' ? 'arm64' : 'amd64',
    kernelVersion: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? 'Linux',
    machineId: machineId.trim(),
    bootId: bootId.trim(),
    systemUuid: systemUuid.trim(),
    hasSelinux: selinux !== '',
  };
}

/** Empty where the file is not there. */
async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
