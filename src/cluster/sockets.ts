import ffi from 'node:ffi';
import { closeSync, openSync } from 'node:fs';
import { decodeSocketAddress, socketAddressBytesMax } from '../base/socket-address.ts';
import { socketError } from '../base/sockets.ts';

const CLONE_NEWNET = 0x40000000;
const SYS_PIDFD_OPEN = 434n; // the same number on x86-64 and arm64
const SYS_PIDFD_GETFD = 438n;

const SOL_IP = 0;
const SOL_IPV6 = 41;
/** Of IPv4 (linux/netfilter_ipv4.h) and of IPv6 alike. */
const SO_ORIGINAL_DST = 80;

type Libc = {
  readonly getsockopt: (fd: number, level: number, name: number, value: bigint, length: bigint) => number;
  readonly setns: (fd: number, kind: number) => number;
  readonly syscall: (number: bigint, a: bigint, b: bigint, c: bigint) => bigint;
};

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  const i32 = 'int32';
  const i64 = 'int64';
  const u64 = 'uint64';
  const { functions } = ffi.dlopen('libc.so.6', {
    getsockopt: { arguments: [i32, i32, i32, u64, u64], return: i32 },
    setns: { arguments: [i32, i32], return: i32 },
    syscall: { arguments: [i64, i64, i64, i64], return: i64 },
  });
  libc = functions as unknown as Libc;
  return libc;
}

/**
 * Runs `make` with this thread inside a named network namespace, then comes back. `make` must be synchronous:
 * sockets that it makes and processes that it spawns belong to the namespace, everything else goes on in ours.
 */
export function inNetns<T>(netns: string, make: () => T): T {
  const { setns } = load();
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const there = openSync(`/run/netns/${netns}`, 'r');
    try {
      if (setns(there, CLONE_NEWNET) !== 0) throw socketError(`setns ${netns}`);
    } finally {
      closeSync(there);
    }
    try {
      return make();
    } finally {
      // Going on in the wrong namespace would send the host's traffic into the cluster: rather end.
      if (setns(home, CLONE_NEWNET) !== 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

/** Where a connection was going before a rule redirected it to us; undefined for one that came by itself. */
export function originalDestination(
  fd: number,
): { readonly host: string; readonly port: number } | undefined {
  const { getsockopt } = load();
  const address = Buffer.alloc(socketAddressBytesMax);
  for (const level of [SOL_IP, SOL_IPV6]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(address.length);
    const [to, size] = [ffi.getRawPointer(address), ffi.getRawPointer(length)];
    if (getsockopt(fd, level, SO_ORIGINAL_DST, to, size) === 0) return decodeSocketAddress(address);
  }
  return undefined;
}

/**
 * A copy of another process's file descriptor (pidfd_getfd(2)), or undefined where the process or the kernel does not
 * give it. So a new supervisor gets the listening sockets of a killed one back from its children.
 */
export function takeDescriptor(pid: number, fd: number): number | undefined {
  const { syscall } = load();
  const pidfd = syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n);
  if (pidfd < 0n) return undefined;
  const copy = Number(syscall(SYS_PIDFD_GETFD, pidfd, BigInt(fd), 0n));
  closeSync(Number(pidfd));
  return copy < 0 ? undefined : copy;
}
