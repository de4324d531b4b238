import { closeSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import {
  AF_INET,
  AF_INET6,
  decodeSocketAddress,
  encodeSocketAddress,
  socketAddressBytesMax,
} from '../../base/socket-address.ts';
import { openKernel } from './uring-kernel.ts';

const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const backlog = 4096;

/**
 * Makes listening sockets of one address that the kernel shares connections out among (SO_REUSEPORT), and accepts from none.
 * They are closed on exec: give them to children by `stdio`. Throws if the address cannot be listened on, or without
 * native calls.
 */
export async function openSharedSockets(
  host: string,
  port: number,
  count: number,
): Promise<{ readonly fds: readonly number[]; readonly port: number }> {
  const address = isIP(host) === 0 ? (await lookup(host)).address : host;
  const fds: number[] = [];
  let bound = port;
  try {
    while (fds.length < count) {
      const fd = openSocket(address, bound);
      fds.push(fd);
      if (bound === 0) bound = portOf(fd);
    }
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
  return { fds, port: bound };
}

function openSocket(address: string, port: number): number {
  const { libc, failed } = openKernel();
  const fd = libc.socket(isIP(address) === 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed('socket');
  libc.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, 4);
  libc.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, one, 4);
  const where = encodeSocketAddress(address, port);
  if (libc.bind(fd, where, where.length) === 0 && libc.listen(fd, backlog) === 0) return fd;
  const error = failed(`listen on ${address}:${port}`);
  closeSync(fd);
  throw error;
}

/** The port of a listening socket; 0 if it is none. */
export function portOf(fd: number): number {
  const bytes = Buffer.alloc(socketAddressBytesMax);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(socketAddressBytesMax, 0);
  return openKernel().libc.getsockname(fd, bytes, length) === 0 ? decodeSocketAddress(bytes).port : 0;
}

const one = Buffer.from([1, 0, 0, 0]);
