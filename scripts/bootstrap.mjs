// `npm start`, `npm test` and `npm run check` come in here, under whatever Node the machine has (18 or newer): installs what is
// missing, then goes on in TypeScript with the Node that package.json pins. Plain JavaScript, no packages.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const home = dirname(dirname(fileURLToPath(import.meta.url)));
const [task = '', ...rest] = process.argv.slice(2);
const tasks = new Set(['start', 'test', 'check']);

/** What is needed from the operating system: a program (or any of these files), its Debian package, and the tasks that need it. */
const needs = [
  // The pinned Node is linked with it; it is on every Debian that has a compiler, and missing on a minimal one.
  { program: 'libatomic', isThere: nodeStarts, debian: 'libatomic1', tasks: ['start', 'test', 'check'] },
  { program: 'containerd', debian: 'containerd', tasks: ['start', 'test'] },
  { program: 'runc', debian: 'runc', tasks: ['start', 'test'] },
  {
    program: 'CNI plugins',
    files: ['/usr/lib/cni/bridge', '/opt/cni/bin/bridge', '/usr/libexec/cni/bridge'],
    debian: 'containernetworking-plugins',
    tasks: ['start', 'test'],
  },
  { program: 'nft', debian: 'nftables', tasks: ['start', 'test'] },
  { program: 'ip', debian: 'iproute2', tasks: ['start', 'test'] },
  { program: 'conntrack', debian: 'conntrack', tasks: ['start', 'test'] },
  { program: 'kubectl', debian: 'kubernetes-client', tasks: ['start', 'test'] },
  { program: 'curl', debian: 'curl', tasks: ['start', 'test'] },
  { program: 'dig', debian: 'bind9-dnsutils', tasks: ['test'] },
  { program: 'kdig', debian: 'knot-dnsutils', tasks: ['test'] },
  { program: 'busybox', debian: 'busybox-static', tasks: ['test'] },
  { program: 'ps', debian: 'procps', tasks: ['test'] },
  { program: 'openssl', debian: 'openssl', tasks: ['test'] },
  { program: 'etcd', debian: 'etcd-server', tasks: ['test'] },
  // Others' readings of HTTP/1, to compare ours with.
  { program: 'nginx', debian: 'nginx-light', tasks: ['test'] },
  {
    program: 'stream module of nginx',
    isThere: () => existsSync('/usr/lib/nginx/modules/ngx_stream_module.so'),
    debian: 'libnginx-mod-stream',
    tasks: ['test'],
  },
  { program: 'haproxy', debian: 'haproxy', tasks: ['test'] },
  { program: 'h2load', debian: 'nghttp2-client', tasks: ['test'] },
  {
    program: 'Python client of Kubernetes',
    files: ['/usr/lib/python3/dist-packages/kubernetes'],
    debian: 'python3-kubernetes',
    tasks: ['test'],
  },
];

const systemDirs = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];
const searchPath = [...(process.env.PATH ?? '').split(':').filter(Boolean), ...systemDirs];

function say(text) {
  process.stderr.write(`${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function nodeStarts() {
  return spawnSync(pinnedNode(), ['--version'], { stdio: 'ignore' }).status === 0;
}

function isThere(need) {
  if (need.isThere !== undefined) return need.isThere();
  const files = need.files ?? searchPath.map((dir) => join(dir, need.program));
  return files.some(isExecutable);
}

/** Runs a program with our terminal; the exit code, or 1 if a signal ended it. */
function run(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', cwd: home, ...options });
  if (error !== undefined) {
    say(`cannot run ${program}: ${error.message}`);
    return 1;
  }
  return status ?? 1;
}

/** npm writes what it installed into this file: other than the lock file's packages means out of date. */
function packagesAreCurrent() {
  const installed = join(home, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  const wanted = JSON.parse(readFileSync(join(home, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(installed, 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || present[path]?.version === version,
  );
}

function installPackages() {
  if (packagesAreCurrent()) return;
  say('Installing the npm packages (npm ci) …');
  const npm = process.env.npm_execpath;
  // Quiet: the npm that comes with Debian's Node 18 would warn of each package that wants Node 20, and all run under Node 26.
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error'];
  const status = npm === undefined ? run('npm', args) : run(process.execPath, [npm, ...args]);
  if (status !== 0) fail('`npm ci` failed: the messages above tell why; then run the same command again');
}

function pinnedNode() {
  const arch = { x64: 'x64', arm64: 'arm64' }[process.arch];
  const node = join(home, `node_modules/node-linux-${arch}/bin/node`);
  if (process.platform !== 'linux' || arch === undefined || !isExecutable(node)) {
    fail(
      `Fairlead runs on Linux on x86-64 and arm64; there is no Node for ${process.platform}-${process.arch}`,
    );
  }
  return node;
}

/** Installing must not start a system containerd: clusters run their own. What runs already is not touched. */
function withoutStartingServices(install) {
  const policy = '/usr/sbin/policy-rc.d';
  if (existsSync(policy)) return install(); // somebody else's rule stays in force
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    return install();
  } finally {
    rmSync(policy, { force: true });
  }
}

function installPrograms() {
  const missing = needs.filter((need) => need.tasks.includes(task) && !isThere(need));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(({ debian }) => debian))];
  const names = missing.map(({ program }) => program).join(', ');
  const command = `apt-get install --no-install-recommends ${packages.join(' ')}`;
  const isDebian = isExecutable('/usr/bin/apt-get');
  if (process.getuid() !== 0 || !isDebian) {
    const how = isDebian
      ? `install it with: sudo ${command}`
      : `install (Debian's names): ${packages.join(' ')}`;
    if (task === 'start') fail(`Not installed: ${names}.\n${how}`);
    say(`Not installed: ${names}; tests that need it are skipped.\n${how}`);
    return;
  }
  say(`Installing ${names} (${command}) …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () =>
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], { env });
  const status = withoutStartingServices(() => {
    if (install() === 0) return 0;
    say('Refreshing the lists of packages (apt-get update) …');
    run('apt-get', ['update', '-q'], { env });
    return install();
  });
  if (status === 0) return;
  if (task === 'start') fail(`\`${command}\` failed: the messages above tell why`);
  say(`\`${command}\` failed; tests that need ${names} are skipped`);
}

/** The newest modification time of the files below a folder, ms since the epoch. */
function newestMs(folder) {
  return Math.max(
    ...readdirSync(folder, { withFileTypes: true }).map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? newestMs(path) : statSync(path).mtimeMs;
    }),
    0,
  );
}

/** Fills the runtime's compile cache once; without it, the first start is slow and its processes are large. */
function compileSources(node, env) {
  const stamp = join(env.NODE_COMPILE_CACHE, 'warmed');
  const changedMs = Math.max(
    newestMs(join(home, 'src')),
    statSync(join(home, 'node_modules/.package-lock.json')).mtimeMs,
  );
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= changedMs) return;
  say('Compiling the sources, once …');
  const script = join(home, 'scripts/warm.ts');
  if (run(node, ['--disable-warning=ExperimentalWarning', script], { env }) !== 0) return; // shows again where it matters
  try {
    writeFileSync(stamp, '');
  } catch {
    // a tree that we may not write has no cache: slower, nothing worse
  }
}

if (!tasks.has(task)) fail(`usage: node scripts/bootstrap.mjs start|test|check [arguments]`);
installPackages();
const node = pinnedNode();
installPrograms();
if (!nodeStarts()) fail(`${node} does not start: run it to see why`);
const env = {
  ...process.env,
  PATH: [dirname(node), ...searchPath].join(':'),
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(home, '.cache/compile'),
};
if (task !== 'check') compileSources(node, env);
const script = join(home, 'scripts', `${task}.ts`);
process.exit(run(node, ['--disable-warning=ExperimentalWarning', script, ...rest], { env }));
