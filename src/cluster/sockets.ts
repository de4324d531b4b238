import { closeSync, openSync } from 'node:fs';
import ffi from 'node:ffi';
import { isIPv6 } from 'node:net';

/** Connections that wait for accept() before the kernel turns new ones away; the kernel's own limit may be lower. */
export const listenBacklog = 1024;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const CLONE_NEWNET = 0x40000000;
const EADDRINUSE = 98;
const EACCES = 13;
const SYS_PIDFD_OPEN = 434n; // the same number on x86-64 and arm64
const SYS_PIDFD_GETFD = 438n;

type Libc = {
  readonly setns: (fd: number, kind: number) => number;
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: bigint, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly setsockopt: (fd: number, level: number, name: number, value: bigint, length: number) => number;
  readonly syscall: (number: bigint, a: bigint, b: bigint, c: bigint) => bigint;
  readonly __errno_location: () => bigint;
};

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  const i32 = 'int32';
  const u64 = 'uint64';
  const i64 = 'int64';
  const { functions } = ffi.dlopen('libc.so.6', {
    setns: { arguments: [i32, i32], return: i32 },
    socket: { arguments: [i32, i32, i32], return: i32 },
    bind: { arguments: [i32, u64, i32], return: i32 },
    listen: { arguments: [i32, i32], return: i32 },
    setsockopt: { arguments: [i32, i32, i32, u64, i32], return: i32 },
    syscall: { arguments: [i64, i64, i64, i64], return: i64 },
    __errno_location: { arguments: [], return: u64 },
  });
  libc = functions as unknown as Libc;
  return libc;
}

export type SocketErrorCode = 'AddressInUse' | 'Forbidden' | 'Other';

/** The kernel refused a socket. */
export class SocketError extends Error {
  override readonly name = 'SocketError';
  readonly code: SocketErrorCode;

  constructor(code: SocketErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

function fail(what: string): SocketError {
  const errno = ffi.getInt32(load().__errno_location(), 0);
  const code = errno === EADDRINUSE ? 'AddressInUse' : errno === EACCES ? 'Forbidden' : 'Other';
  return new SocketError(
    code,
    `${what}: errno ${errno}${code === 'AddressInUse' ? ' (address in use)' : ''}`,
  );
}

/** struct sockaddr_in or sockaddr_in6 of an address in text form. */
export function socketAddress(address: string, port: number): Uint8Array {
  const family = isIPv6(address) ? AF_INET6 : AF_INET;
  const bytes = new Uint8Array(family === AF_INET6 ? 28 : 16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true); // host order: both of our architectures are little-endian
  view.setUint16(2, port, false);
  if (family === AF_INET) {
    bytes.set(address.split('.').map(Number), 4);
  } else {
    bytes.set(ipv6Bytes(address), 8);
  }
  return bytes;
}

function ipv6Bytes(address: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head = '', tail] = address.split('::');
  const groups = (text: string | undefined): readonly number[] =>
    text === undefined || text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = groups(tail);
  first.forEach((group, index) => new DataView(bytes.buffer).setUint16(index * 2, group, false));
  last.forEach((group, index) => {
    new DataView(bytes.buffer).setUint16((8 - last.length + index) * 2, group, false);
  });
  return bytes;
}

export type SocketKind = 'tcp' | 'udp';

/**
 * Binds (and for TCP listens on) a socket without ever accepting from it, and returns its file descriptor,
 * which is closed on exec: give it to a child by `stdio`. Connections wait in the backlog until the child accepts.
 * `shared`: a UDP port that others may bind too who ask for the same. Throws SocketError.
 */
export function openSocket(
  kind: SocketKind,
  address: string,
  port: number,
  options: { readonly shared?: boolean } = {},
): number {
  const { socket, bind, listen, setsockopt } = load();
  const bytes = socketAddress(address, port);
  const family = isIPv6(address) ? AF_INET6 : AF_INET;
  const fd = socket(family, (kind === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (fd < 0) throw fail('socket');
  const one = new Uint8Array([1, 0, 0, 0]);
  const onePointer = ffi.getRawPointer(one);
  // TCP: an address with connections in TIME_WAIT can be used again; two listeners still cannot share it.
  // UDP: sockets of a wildcard and of its single addresses may share a port.
  if (kind === 'tcp' || options.shared === true) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, onePointer, 4);
  if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, onePointer, 4);
  const where = `${kind} ${address}:${port}`;
  if (bind(fd, ffi.getRawPointer(bytes), bytes.length) !== 0) return refuse(fd, `bind ${where}`);
  if (kind === 'tcp' && listen(fd, listenBacklog) !== 0) return refuse(fd, `listen ${where}`);
  return fd;
}

function refuse(fd: number, what: string): never {
  const error = fail(what);
  closeSync(fd);
  throw error;
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
      if (setns(there, CLONE_NEWNET) !== 0) throw fail(`setns ${netns}`);
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
