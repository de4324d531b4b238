import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { openSocket, SocketError } from '../base/sockets.ts';
import { UserError } from '../base/user-error.ts';
import { apiHostPortPreferred, type PublishedPort } from './config.ts';

/** True when nobody listens on the address and port in the host's namespace. IPv6 counts only where the host has it. */
export function isFree(address: string, port: number): boolean {
  try {
    closeSync(openSocket('tcp', address, port));
    return true;
  } catch (error) {
    if (error instanceof SocketError && error.code === 'AddressInUse') return false;
    if (address === '::1') return true; // no IPv6 on this host: published on IPv4 alone
    throw new UserError(`cannot listen on ${address} port ${port} of this machine`, { cause: error });
  }
}

/**
 * The ports that can be had. Of the default ones those that are taken are left out and named by `note`.
 * Throws UserError for one that was asked for.
 */
export function freePublished(
  wanted: readonly PublishedPort[],
  note: (text: string) => void,
): readonly PublishedPort[] {
  return wanted.filter((published) => {
    const { hostPort, port, explicit, hostAddresses } = published;
    const taken = hostAddresses.find((address) => !isFree(address, hostPort));
    if (taken === undefined) return true;
    const holder = holderOf(hostPort);
    const by = holder === undefined ? 'another program' : holder;
    if (explicit) {
      throw new UserError(
        `port ${hostPort} of this machine is in use by ${by}; stop that, or publish another one: -p OTHER:${port}@loadbalancer`,
      );
    }
    note(
      `port ${hostPort} is in use by ${by}, so it is not published; -p OTHER:${port}@loadbalancer publishes another`,
    );
    return false;
  });
}

/**
 * 6443 if it is free, otherwise the next port of the loopback that is. `taken`: ports that others have been promised, who may not
 * listen on them yet.
 */
export function pickApiPort(taken: ReadonlySet<number>): number {
  for (let port = apiHostPortPreferred; port < apiHostPortPreferred + 1000; port += 1) {
    if (!taken.has(port) && isFree('127.0.0.1', port)) return port;
  }
  throw new UserError(`no port for the API server is free from ${apiHostPortPreferred} on`);
}

/** "nginx (pid 812)", if the kernel lets us see who listens. */
export function holderOf(port: number): string | undefined {
  const inodes = new Set(
    ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => listeningInodes(readText(file), port)),
  );
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (descriptorsOf(pid).some((target) => inodes.has(target))) {
      return `${readText(`/proc/${pid}/comm`).trim()} (pid ${pid})`;
    }
  }
  return undefined;
}

/** `socket:[INODE]` of listening sockets on the port, from the text of /proc/net/tcp. */
export function listeningInodes(text: string, port: number): readonly string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    return state === '0A' && local.endsWith(`:${hex}`) ? [`socket:[${inode}]`] : [];
  });
}

function descriptorsOf(pid: string): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch {
        return ''; // closed meanwhile
      }
    });
  } catch {
    return []; // ended, or somebody else's
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
