import ffi from 'node:ffi';
import { closeSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import type { IpFamily } from './ip.ts';
import { AF_INET, AF_INET6, encodeSocketAddress } from './socket-address.ts';

/** Connections that wait for accept() before the kernel turns new ones away; the kernel's own limit may be lower. */
export const listenBacklog = 1024;

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_ICMP = 1;
const IPPROTO_IPV6 = 41;
const IPPROTO_ICMPV6 = 58;
const IPV6_V6ONLY = 26;
const EADDRINUSE = 98;
const EACCES = 13;

type Libc = {
  readonly socket: (family: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: bigint, length: number) => number;
  readonly connect: (fd: number, address: bigint, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly setsockopt: (fd: number, level: number, name: number, value: bigint, length: number) => number;
  readonly __errno_location: () => bigint;
};

let libc: Libc | undefined;

function load(): Libc {
  if (libc !== undefined) return libc;
  const i32 = 'int32';
  const u64 = 'uint64';
  const { functions } = ffi.dlopen('libc.so.6', {
    socket: { arguments: [i32, i32, i32], return: i32 },
    bind: { arguments: [i32, u64, i32], return: i32 },
    connect: { arguments: [i32, u64, i32], return: i32 },
    listen: { arguments: [i32, i32], return: i32 },
    setsockopt: { arguments: [i32, i32, i32, u64, i32], return: i32 },
    __errno_location: { arguments: [], return: u64 },
  });
  libc = functions as unknown as Libc;
  return libc;
}

/** Whether this platform has the C library that sockets are made with here. */
export function hasSockets(): boolean {
  try {
    load();
    return true;
  } catch {
    return false;
  }
}

/** The number of the C library's last failure in this thread. */
export function lastErrno(): number {
  return ffi.getInt32(load().__errno_location(), 0);
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

/** What the C library's last call failed with. */
export function socketError(what: string): SocketError {
  const errno = lastErrno();
  const code = errno === EADDRINUSE ? 'AddressInUse' : errno === EACCES ? 'Forbidden' : 'Other';
  const words = code === 'AddressInUse' ? ' (address in use)' : '';
  return new SocketError(code, `${what}: errno ${errno}${words}`);
}

export type SocketKind = 'tcp' | 'udp';

export type SocketOptions = {
  /** A UDP port that others may bind too who ask for the same: a wildcard and its single addresses live side by side. */
  readonly shared?: boolean;
  /** For who reads it himself; libuv sets that for what it is given. */
  readonly nonblocking?: boolean;
};

/**
 * Binds (and for TCP listens on) a socket without ever accepting from it, and returns its file descriptor, which is closed
 * on exec: give it to a child by `stdio`. Connections wait in the backlog until somebody accepts. Throws SocketError, and
 * RangeError for an address that has no plain form.
 */
export function openSocket(
  kind: SocketKind,
  address: string,
  port: number,
  { shared = false, nonblocking = false }: SocketOptions = {},
): number {
  const { socket, bind, listen, setsockopt } = load();
  const name = encodeSocketAddress(address, port);
  const family = isIPv6(address) ? AF_INET6 : AF_INET;
  const type = (kind === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  const fd = socket(family, type, 0);
  if (fd < 0) throw socketError('socket');
  const one = new Uint8Array([1, 0, 0, 0]);
  const onePointer = ffi.getRawPointer(one);
  // TCP: an address with connections in TIME_WAIT can be used again; two listeners still cannot share it.
  if (kind === 'tcp' || shared) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, onePointer, 4);
  if (family === AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, onePointer, 4);
  const where = `${kind} ${address}:${port}`;
  if (bind(fd, ffi.getRawPointer(name), name.length) !== 0) return refuse(fd, `bind ${where}`);
  if (kind === 'tcp' && listen(fd, listenBacklog) !== 0) return refuse(fd, `listen ${where}`);
  return fd;
}

/**
 * A UDP socket at a port of chance which takes datagrams of one peer only. Its file descriptor does not block and is closed on
 * exec. Throws SocketError, and RangeError for an address that has no plain form.
 */
export function connectUdp(address: string, port: number): number {
  const name = encodeSocketAddress(address, port);
  const fd = openSocket('udp', isIPv6(address) ? '::' : '0.0.0.0', 0, { nonblocking: true });
  const { connect } = load();
  if (connect(fd, ffi.getRawPointer(name), name.length) !== 0)
    return refuse(fd, `connect ${address}:${port}`);
  return fd;
}

/**
 * A socket that sends echo requests and takes their answers (ICMP, ICMPv6), without privileges. Undefined: the machine does not
 * allow it to our groups (`net.ipv4.ping_group_range`). Its file descriptor does not block and is closed on exec.
 */
export function openPingSocket(family: IpFamily): number | undefined {
  const { socket } = load();
  const [domain, protocol] = family === 4 ? [AF_INET, IPPROTO_ICMP] : [AF_INET6, IPPROTO_ICMPV6];
  const fd = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
  return fd < 0 ? undefined : fd;
}

function refuse(fd: number, what: string): never {
  const error = socketError(what);
  closeSync(fd);
  throw error;
}
