import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';

/** A program or file that a cluster needs, with the Debian package that has it. */
export type Prerequisite = {
  readonly what: string;
  readonly debianPackage: string;
  /** Any of these is enough; a name without slash is looked for on PATH. */
  readonly anyOf: readonly string[];
};

export const cniBinDirs = ['/usr/lib/cni', '/opt/cni/bin', '/usr/libexec/cni'] as const;

export const prerequisites: readonly Prerequisite[] = [
  { what: 'containerd', debianPackage: 'containerd', anyOf: ['containerd'] },
  { what: 'ctr', debianPackage: 'containerd', anyOf: ['ctr'] },
  { what: 'runc', debianPackage: 'runc', anyOf: ['runc'] },
  {
    what: 'the CNI plugins',
    debianPackage: 'containernetworking-plugins',
    anyOf: cniBinDirs.map((dir) => `${dir}/bridge`),
  },
  { what: 'nft', debianPackage: 'nftables', anyOf: ['nft'] },
  { what: 'ip', debianPackage: 'iproute2', anyOf: ['ip'] },
  { what: 'conntrack', debianPackage: 'conntrack', anyOf: ['conntrack'] },
];

/** What clusters with IPv6 addresses need in addition. */
const prerequisitesOfIpv6: readonly Prerequisite[] = [
  { what: 'nsenter', debianPackage: 'util-linux', anyOf: ['nsenter'] },
];

/** Directories where administrators' programs are, although a plain user's PATH lacks them. */
const systemPath = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/** PATH with the system's directories added behind, for us and for what we start. */
export function completePath(path: string | undefined): string {
  const own = (path ?? '').split(':').filter((part) => part !== '');
  return [...own, ...systemPath.filter((part) => !own.includes(part))].join(':');
}

/** Where a program is, or undefined. */
export function findProgram(name: string, path: string): string | undefined {
  const candidates = name.includes('/') ? [name] : path.split(':').map((dir) => posix.join(dir, name));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function missingPrerequisites(
  path: string,
  { ipv6 }: { readonly ipv6: boolean },
): readonly Prerequisite[] {
  const all = ipv6 ? [...prerequisites, ...prerequisitesOfIpv6] : prerequisites;
  return all.filter(({ anyOf }) => !anyOf.some((name) => findProgram(name, path) !== undefined));
}

/** What to tell the user about missing programs, with the command that installs them. */
export function describeMissing(missing: readonly Prerequisite[]): string {
  const packages = [...new Set(missing.map(({ debianPackage }) => debianPackage))];
  return (
    `${missing.map(({ what }) => what).join(', ')} ${missing.length === 1 ? 'is' : 'are'} not installed; ` +
    `on Debian and Ubuntu: sudo apt-get install --no-install-recommends ${packages.join(' ')}`
  );
}

/** Where the CNI plugins are; the first place when they are nowhere. */
export function findCniBinDir(): string {
  return cniBinDirs.find((dir) => findProgram(`${dir}/bridge`, '') !== undefined) ?? cniBinDirs[0];
}

/** Why no cluster can have IPv6 addresses on this machine; undefined: it can. `procSys` is another folder in tests. */
export function ipv6Problem(procSys = '/proc/sys'): string | undefined {
  const setting = `${procSys}/net/ipv6/conf/all/disable_ipv6`;
  if (!existsSync(setting)) {
    return `this machine has no IPv6: there is no ${procSys}/net/ipv6 (perhaps ipv6.disable=1 is in /proc/cmdline)`;
  }
  if (readFileSync(setting, 'utf8').trim() === '0') return undefined;
  return 'IPv6 is switched off on this machine: the sysctl net.ipv6.conf.all.disable_ipv6 is not 0';
}
