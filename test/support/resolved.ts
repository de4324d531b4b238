/**
 * systemd-resolved for a test, as a process of its own in the host's network: with its own bus, its own /run/systemd and
 * /etc/resolv.conf, which no other program sees, and with nobody to ask but whom a link names.
 */
import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchPackages } from '../../tools/images/packages.ts';
import { eventually, run, runOk } from './shell.ts';

export type TestResolved = {
  /** A folder for PATH with a `resolvectl` that talks to this one. */
  readonly binFolder: string;
  resolvectl(...args: string[]): Promise<string>;
  stop(): Promise<void>;
};

/** Debian's packages of it; their other libraries are the machine's. */
const packageNames = ['systemd-resolved', 'libsystemd-shared', 'dbus-daemon'];
const user = 990;

const script = `
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve /run/systemd/resolved.conf.d
chown ${user}:${user} /run/systemd/resolve
for file in passwd group resolv.conf; do mount --bind "$1/$file" /etc/$file; done
cp "$1/resolved.conf" /run/systemd/resolved.conf.d/
dbus-daemon --config-file="$1/bus.conf" --nofork --nopidfile &
bus=$!
until [ -S "$1/bus" ]; do sleep 0.05; done
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$1/bus"
systemd-resolved &
resolved=$!
trap 'kill $bus $resolved' TERM EXIT
wait $resolved
`;

const busConfig = (folder: string): string =>
  `<busconfig><type>system</type><listen>unix:path=${folder}/bus</listen><auth>EXTERNAL</auth>` +
  '<policy context="default"><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>' +
  '<allow user="*"/></policy></busconfig>';

/** Rejects where the packages cannot be had or do not run here. */
export async function startResolved(): Promise<TestResolved> {
  const folder = mkdtempSync(join(tmpdir(), 'fairlead-resolved-'));
  chmodSync(folder, 0o755); // it runs as a user of its own
  const root = join(folder, 'root');
  const packages = await fetchPackages(
    new Map([['resolved', packageNames]]),
    join(import.meta.dirname, '../../.cache/images/packages'),
    () => {},
  );
  for (const { name, path } of packages.get('resolved') ?? []) {
    if (packageNames.includes(name)) await runOk('dpkg-deb', ['--extract', path, root]);
  }
  const libraries = (await runOk('find', [root, '-name', 'libsystemd-shared-*.so', '-printf', '%h'])).trim();
  const programs = [`${root}/lib/systemd`, `${root}/usr/lib/systemd`, `${root}/usr/bin`];
  const env = {
    PATH: [...programs, process.env['PATH'] ?? ''].join(':'),
    LD_LIBRARY_PATH: libraries,
    DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${folder}/bus`,
  };
  writeFileSync(
    join(folder, 'passwd'),
    `root:x:0:0::/root:/bin/sh\nsystemd-resolve:x:${user}:${user}::/:/bin/false\n`,
  );
  writeFileSync(join(folder, 'group'), `root:x:0:\nsystemd-resolve:x:${user}:\n`);
  writeFileSync(join(folder, 'resolv.conf'), '');
  const quiet = ['LLMNR', 'MulticastDNS', 'DNSStubListener', 'DNSSEC'].map((key) => `${key}=no`);
  writeFileSync(
    join(folder, 'resolved.conf'),
    ['[Resolve]', 'DNS=', 'FallbackDNS=', ...quiet, ''].join('\n'),
  );
  writeFileSync(join(folder, 'bus.conf'), busConfig(folder));
  const child = spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', folder], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const ended = new Promise<void>((done) => child.once('close', () => done()));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const binFolder = join(folder, 'bin');
  mkdirSync(binFolder);
  const words = Object.entries(env).map(([key, value]) => `export ${key}='${value}'`);
  writeFileSync(
    join(binFolder, 'resolvectl'),
    ['#!/bin/sh', ...words, 'exec resolvectl "$@"', ''].join('\n'),
    {
      mode: 0o755,
    },
  );
  try {
    await eventually(async () => {
      const asked = await run('resolvectl', ['--no-pager', 'dns'], { env });
      if (asked.code !== 0) throw new Error(`systemd-resolved does not answer: ${asked.stderr}${said}`);
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { binFolder, resolvectl: (...args) => runOk('resolvectl', args, { env }), stop };
}
