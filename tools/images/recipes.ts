import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { OciConfig } from '../../src/base/oci-archive.ts';
import type { FilePool, RootfsPlan } from './rootfs.ts';

export const imageNames = ['caddy', 'alpine', 'echo', 'busybox', 'fairlead'] as const;
export type ImageName = (typeof imageNames)[number];

/** One image: which packages it is made from, what it takes from them, how it starts. */
export type Recipe = {
  /** The full reference under which containers find it. */
  readonly reference: string;
  readonly packages: readonly string[];
  readonly config: OciConfig;
  /** Files of the repository, beyond this folder, that decide over the archive; as glob patterns. */
  readonly inputs?: readonly string[];
  /** `triplet` is the directory of the architecture's libraries: x86_64-linux-gnu or aarch64-linux-gnu. */
  plan(pool: FilePool, triplet: string): RootfsPlan;
};

/** The environment of every image. */
export const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Directories that programs expect everywhere. */
export const commonDirectories: ReadonlyMap<string, number> = new Map([
  ['dev', 0o755],
  ['etc', 0o755],
  ['home', 0o755],
  ['proc', 0o555],
  ['root', 0o700],
  ['run', 0o755],
  ['srv', 0o755],
  ['sys', 0o555],
  ['tmp', 0o1777],
  ['usr/local/bin', 0o755],
  ['var/tmp', 0o1777],
  ['var/log', 0o755],
]);

/** Applets of busybox that manage hosts, hardware or packages: of no use in a container, and some would mislead. */
const appletsLeftOut: ReadonlySet<string> = new Set(
  [
    'acpid ar busybox depmod devmem dpkg dpkg-deb getty halt i2cdetect i2cdump i2cget i2cset',
    'i2ctransfer init insmod linuxrc loadfont loadkmap lsmod microcom modinfo modprobe nologin',
    'openvt poweroff reboot rmmod rpm rpm2cpio run-init setkeycodes switch_root ubirename',
  ].flatMap((line) => line.split(' ')),
);

const caddy: Recipe = {
  reference: 'docker.io/library/caddy:latest',
  packages: ['caddy', 'ca-certificates', 'media-types'],
  config: {
    cmd: ['caddy', 'run', '--config', '/etc/caddy/Caddyfile', '--adapter', 'caddyfile'],
    env: [path, 'XDG_CONFIG_HOME=/config', 'XDG_DATA_HOME=/data'],
    workingDir: '/srv',
    exposedPorts: ['80/tcp', '443/tcp', '443/udp', '2019/tcp'],
    labels: labels('Caddy', 'Debian package caddy with a page that names its Pod'),
  },
  plan: (pool) => ({
    include: ['usr/bin/caddy', 'etc/mime.types'],
    files: new Map([
      ...commonFiles('Caddy test image made from Debian packages'),
      ['etc/ssl/certs/ca-certificates.crt', { data: certificateBundle(pool) }],
      ['etc/caddy/Caddyfile', { data: source('./caddy/Caddyfile') }],
      ['usr/share/caddy/index.html', { data: source('./caddy/index.html') }],
    ]),
    symlinks: new Map(),
    directories: new Map([...commonDirectories, ['data/caddy', 0o755], ['config/caddy', 0o755]]),
  }),
};

const alpine: Recipe = {
  reference: 'docker.io/library/alpine:latest',
  packages: [
    'busybox-static',
    'curl',
    'bind9-dnsutils',
    'knot-dnsutils',
    'netcat-openbsd',
    'ca-certificates',
  ],
  config: {
    cmd: ['/bin/sh'],
    env: [path, 'ENV=/etc/shell-aliases'],
    labels: labels(
      'Shell',
      'busybox, curl, dig, kdig and nc from Debian packages, in the place of Alpine Linux',
    ),
  },
  plan: (pool) => ({
    include: ['usr/bin/busybox', 'usr/bin/curl', 'usr/bin/dig', 'usr/bin/kdig', 'usr/bin/nc.openbsd'],
    files: new Map([
      ...commonFiles('Shell test image made from Debian packages (this is not Alpine Linux)'),
      ['etc/ssl/certs/ca-certificates.crt', { data: certificateBundle(pool) }],
      ['etc/profile', { data: Buffer.from("export PS1='\\w \\$ '\n") }],
      // This busybox runs its own applets before anything on the path, and its nc knows no UDP.
      ['etc/shell-aliases', { data: Buffer.from('alias nc=/usr/bin/nc\n') }],
    ]),
    symlinks: new Map([...appletLinks(pool), ['usr/bin/nc', 'nc.openbsd']]),
    directories: commonDirectories,
  }),
};

const busybox: Recipe = {
  reference: 'fairlead.dev/busybox:1',
  packages: ['busybox-static'],
  config: { cmd: ['/bin/sh'], env: [path], labels: labels('Busybox', "Debian's static busybox") },
  plan: (pool) => ({
    include: ['usr/bin/busybox'],
    files: commonFiles('Busybox test image made from Debian packages'),
    symlinks: appletLinks(pool),
    directories: commonDirectories,
  }),
};

const echo: Recipe = {
  reference: 'fairlead.dev/echo:1',
  packages: ['perl-base'],
  config: {
    entrypoint: ['/usr/bin/perl', '/usr/local/bin/echo.pl'],
    env: [path],
    exposedPorts: ['7/tcp', '7/udp', '8080/tcp'],
    labels: labels('Echo', 'UDP, TCP and HTTP echo that tells its own Pod'),
  },
  plan: (pool, triplet) => ({
    include: ['usr/bin/perl', ...perlModules(pool, `usr/lib/${triplet}/perl-base/`)],
    files: new Map([
      ...commonFiles('Echo test image made from Debian packages'),
      ['usr/local/bin/echo.pl', { data: source('./echo.pl'), mode: 0o755 }],
    ]),
    symlinks: new Map(),
    directories: commonDirectories,
  }),
};

/** What of the repository runs: everything but tests. */
const programFiles = ['src/**/*.ts', 'package.json', 'LICENSE'];
const repository = resolve(import.meta.dirname, '../..');
const programHome = 'opt/fairlead';

/** Fairlead itself, for a Pod: this repository's sources with the Node and the packages that it pins. */
const fairlead: Recipe = {
  reference: 'docker.io/library/fairlead:0.1.0',
  packages: ['libstdc++6', 'libatomic1', 'ca-certificates'],
  inputs: [...programFiles, 'package-lock.json'],
  config: {
    entrypoint: [
      '/usr/local/bin/node',
      '--disable-warning=ExperimentalWarning',
      `/${programHome}/src/cmd/fairlead.ts`,
    ],
    env: [path],
    user: '65532:65532',
    workingDir: `/${programHome}`,
    labels: labels('Fairlead', 'Kubernetes Service, cluster DNS and Ingress'),
  },
  plan: (pool, triplet) => ({
    include: [...nodeLibraries.map((name) => `usr/lib/${triplet}/${name}`)],
    files: new Map<string, FileContent>([
      ...commonFiles('Fairlead on libraries of Debian'),
      ['etc/ssl/certs/ca-certificates.crt', { data: certificateBundle(pool) }],
      ['usr/local/bin/node', { data: pinnedNode(), mode: 0o755 }],
      ...repositoryFiles(programFiles),
      ...repositoryFiles(runtimePackages().map((name) => `node_modules/${name}/**/*`)),
    ]),
    symlinks: new Map(),
    directories: commonDirectories,
  }),
};

/** What the pinned Node asks the loader for; what these need follows by itself. */
const nodeLibraries = ['libatomic.so.1', 'libdl.so.2', 'libm.so.6', 'libpthread.so.0', 'libstdc++.so.6'];

function pinnedNode(): Uint8Array {
  const [found] = globSync('node_modules/node-linux-*/bin/node', { cwd: repository });
  if (found === undefined) throw new Error('there is no node_modules/node-linux-*: run npm ci');
  return readFileSync(join(repository, found));
}

/** Names of the packages that a running Fairlead loads: dependencies, and theirs. */
function runtimePackages(): readonly string[] {
  const lock = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly optional?: boolean }>>;
  };
  return Object.entries(lock.packages)
    .filter(
      ([place, { dev, optional }]) => place.startsWith('node_modules/') && dev !== true && optional !== true,
    )
    .map(([place]) => place.slice('node_modules/'.length));
}

/** Tests, types and maps are left out: nothing loads them. */
function repositoryFiles(patterns: readonly string[]): Map<string, { readonly data: Uint8Array }> {
  const names = globSync([...patterns], { cwd: repository, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(repository.length + 1))
    .filter((name) => !/(\.test\.ts|\.d\.[cm]?ts|\.map)$/.test(name));
  return new Map(
    names
      .toSorted()
      .map((name) => [`${programHome}/${name}`, { data: readFileSync(join(repository, name)) }]),
  );
}

type FileContent = { readonly data: Uint8Array; readonly mode?: number };

export const recipes: Readonly<Record<ImageName, Recipe>> = { caddy, alpine, echo, busybox, fairlead };

function labels(title: string, description: string): Readonly<Record<string, string>> {
  return {
    'org.opencontainers.image.title': title,
    'org.opencontainers.image.description': description,
    'org.opencontainers.image.vendor': 'Fairlead test images',
  };
}

export function commonFiles(
  prettyName: string,
): Map<string, { readonly data: Uint8Array; readonly mode?: number }> {
  const text = (content: string) => ({ data: Buffer.from(content) });
  return new Map([
    ['etc/passwd', text('root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n')],
    ['etc/group', text('root:x:0:\nnogroup:x:65534:\n')],
    ['etc/nsswitch.conf', text('hosts: files dns\n')],
    ['etc/os-release', text(`ID=fairlead-test-image\nID_LIKE=debian\nPRETTY_NAME="${prettyName}"\n`)],
  ]);
}

/** Debian joins the certificates when the package is configured; nothing is configured here, so we do. */
function certificateBundle(pool: FilePool): Uint8Array {
  const paths = [...pool.entries.keys()].filter((name) =>
    /^usr\/share\/ca-certificates\/.*\.crt$/.test(name),
  );
  const parts = paths.toSorted().map((name) => {
    const entry = pool.entries.get(name);
    return entry?.kind === 'file' ? entry.data : new Uint8Array(0);
  });
  if (parts.length === 0) throw new Error('no package of this image has certificates of authorities');
  return Buffer.concat(parts);
}

/** busybox carries the names of its applets as one run of NUL-ended strings that starts with "[" and "[[". */
export function appletLinks(pool: FilePool): Map<string, string> {
  const entry = pool.entries.get('usr/bin/busybox');
  if (entry?.kind !== 'file') throw new Error('no package of this image has usr/bin/busybox');
  const binary = Buffer.from(entry.data.buffer, entry.data.byteOffset, entry.data.byteLength);
  const start = binary.indexOf('[\0[[\0', 0, 'latin1');
  if (start === -1) throw new Error('usr/bin/busybox has no table of applets');
  const end = binary.indexOf('\0\0', start, 'latin1');
  const names = binary.toString('latin1', start, end).split('\0');
  const links = new Map<string, string>();
  for (const name of names) {
    if (!appletsLeftOut.has(name)) links.set(`usr/bin/${name}`, 'busybox');
  }
  return links;
}

/** All of perl-base but the tables of Unicode, which are most of its files and which echo.pl does not use. */
function perlModules(pool: FilePool, directory: string): readonly string[] {
  const all = [...pool.entries.keys()].filter((name) => name.startsWith(directory));
  return all.filter((name) => !name.startsWith(`${directory}unicore/`));
}

function source(relative: string): Uint8Array {
  return readFileSync(new URL(relative, import.meta.url));
}
