import { readFile, statfs } from 'node:fs/promises';
import { availableParallelism, arch, release, totalmem } from 'node:os';
import type { MachineFacts } from './node-object.ts';

/** Reads what this machine is. `dataDir`: on the file system whose size counts as the node's storage. */
export async function readMachine(dataDir: string): Promise<MachineFacts> {
  const [osRelease, machineId, bootId, systemUuid, storage] = await Promise.all([
    readText('/etc/os-release'),
    readText('/etc/machine-id'),
    readText('/proc/sys/kernel/random/boot_id'),
    readText('/sys/class/dmi/id/product_uuid'),
    statfs(dataDir),
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
  };
}

/** Empty where the file is not there: none of them is needed for anything but to be shown. */
async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
