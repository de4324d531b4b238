/**
 * `npm start`: a cluster, the course's examples in it, and what to try next. A second run finds everything there.
 * Arguments are those of `fairlead up`. FAIRLEAD_IMAGES=build builds the images here even where a registry can be reached,
 * FAIRLEAD_IMAGES=pull leaves them to the registry.
 */
import { spawn } from 'node:child_process';
import { request as requestHttp } from 'node:http';
import { join } from 'node:path';
import { createProgress, type Progress } from '../src/cli/progress.ts';
import { UserError } from '../src/base/user-error.ts';
import { renderFailure } from '../src/cli/failure.ts';
import type { ClusterConfig } from '../src/cluster/config.ts';
import { importImages, listImages } from '../src/cluster/images.ts';
import { requireCluster } from '../src/cluster/status.ts';
import { baseDirs } from '../src/cluster/state.ts';

const home = join(import.meta.dirname, '..');
const fairlead = join(home, 'fairlead');
const manifests = ['4_deployment.yaml', '5_service.yaml', '5_lb_service.yaml', '5_ingress.yaml'];
const ingressHost = 'caddy.local.trapti.tech';
/** What the examples run, and a shell to look around with. */
const imageNames = ['caddy', 'alpine'];
const registryTimeoutMs = 2_000;
const answerTimeoutMs = 60_000;
const answerPauseMs = 100;

/** Runs a program with our terminal; rejects when it fails. */
async function show(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: 'inherit' });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  if (code !== 0) throw new UserError(`\`${program} ${args.join(' ')}\` failed`);
}

/** Runs a program and keeps its output; rejects with what it said when it fails. */
async function quietly(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const text = Buffer.concat(output).toString();
  if (code !== 0) throw new UserError(`\`${program} ${args.join(' ')}\` failed: ${text.trim()}`);
  return text;
}

async function isRegistryReachable(): Promise<boolean> {
  try {
    await fetch('https://registry-1.docker.io/v2/', { signal: AbortSignal.timeout(registryTimeoutMs) });
    return true;
  } catch {
    return false;
  }
}

async function provideImages(config: ClusterConfig, progress: Progress): Promise<void> {
  progress.begin('images');
  const present = new Set(
    (await listImages(config))
      .filter(({ nodes }) => nodes.length === config.agents + 1)
      .map(({ reference }) => reference),
  );
  const missing = imageNames.filter((name) => !present.has(`docker.io/library/${name}:latest`));
  if (missing.length === 0) return progress.done(`images are there: ${imageNames.join(', ')}`);
  const mode = process.env['FAIRLEAD_IMAGES'];
  if (mode === 'pull' || (mode !== 'build' && config.egress !== 'none' && (await isRegistryReachable()))) {
    return progress.done('images come from docker.io');
  }
  progress.note(`no image registry can be reached: building ${missing.join(', ')} from Debian packages`);
  const { buildImages } = await import('../tools/images/build.ts');
  const archives = await buildImages(missing, {}, (line) => progress.begin(line));
  progress.begin('importing images');
  await importImages(
    config,
    archives.map(({ path }) => path),
  );
  progress.done(`images built and imported: ${missing.join(', ')}`);
}

/** Asks until the answer is 200. */
async function answers(url: string, host: string | undefined): Promise<void> {
  const deadline = performance.now() + answerTimeoutMs;
  let last = '';
  while (performance.now() < deadline) {
    last = await ask(url, host);
    if (last === 'status 200') return;
    await new Promise((resolve) => setTimeout(resolve, answerPauseMs));
  }
  throw new UserError(
    `${url} does not answer (${last}); look at \`./fairlead status\` and \`kubectl get pods -A\``,
  );
}

async function ask(url: string, host: string | undefined): Promise<string> {
  return new Promise((resolve) => {
    const headers = host === undefined ? {} : { Host: host };
    const request = requestHttp(url, { headers, timeout: 2_000, agent: false }, (response) => {
      response.resume();
      resolve(`status ${response.statusCode}`);
    });
    request.once('timeout', () => request.destroy(new Error('no answer in time')));
    request.once('error', (error) => resolve(error.message));
    request.end();
  });
}

function urlOf(config: ClusterConfig, port: number): string | undefined {
  const published = config.published.find((candidate) => candidate.port === port);
  if (published === undefined) return undefined;
  return `http://localhost${published.hostPort === 80 ? '' : `:${published.hostPort}`}/`;
}

function nameOf(args: readonly string[]): string {
  const index = args.findIndex((arg) => arg === '--name' || arg === '-n');
  const inline = args.find((arg) => arg.startsWith('--name='))?.slice('--name='.length);
  return inline ?? (index < 0 ? 'dev' : (args[index + 1] ?? 'dev'));
}

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  await show(fairlead, ['up', ...args]);
  const { config } = await requireCluster(nameOf(args), baseDirs(process.env, process.getuid?.() ?? 0));
  const progress = createProgress(process.stderr, () => performance.now());
  await provideImages(config, progress);
  const kubectl = ['--kubeconfig', `${config.dataDir}/kubeconfig.yaml`];
  progress.begin('applying the examples');
  await quietly('kubectl', [
    ...kubectl,
    'apply',
    ...manifests.flatMap((file) => ['-f', join(home, 'examples', file)]),
  ]);
  progress.done(`applied examples/{${manifests.join(',')}}`);
  progress.begin('waiting for the Pods');
  await quietly('kubectl', [...kubectl, 'rollout', 'status', 'deployment/caddy', '--timeout=120s']);
  progress.done('Deployment caddy is available');
  const serviceUrl = urlOf(config, 8080);
  const ingressUrl = urlOf(config, 80);
  if (serviceUrl !== undefined) {
    progress.begin(serviceUrl);
    await answers(serviceUrl, undefined);
    progress.done(`${serviceUrl} answers through the LoadBalancer Service`);
  }
  if (ingressUrl !== undefined) {
    progress.begin(`the Ingress of ${ingressHost}`);
    await answers(ingressUrl, ingressHost);
    progress.done(`${ingressUrl} answers for ${ingressHost} through the Ingress`);
  }
  process.stdout.write('\n');
  await show('kubectl', [...kubectl, 'get', 'deployments,pods,services,ingress', '-o', 'wide']);
  process.stdout.write(summary(config, serviceUrl, ingressUrl));
}

function summary(
  config: ClusterConfig,
  serviceUrl: string | undefined,
  ingressUrl: string | undefined,
): string {
  const named = config.name === 'dev' ? '' : ` --name ${config.name}`;
  const open = serviceUrl ?? ingressUrl;
  return [
    open === undefined ? '\n' : `\nOpen ${open}\n`,
    '\nTry next:\n',
    '  kubectl get pods -o wide\n',
    ingressUrl === undefined ? '' : `  curl -H 'Host: ${ingressHost}' ${ingressUrl}\n`,
    '  kubectl run --rm -it tmp --image alpine:latest -- sh      and in it: curl http://caddy/\n',
    '  kubectl scale deployment/caddy --replicas 5\n',
    '  kubectl rollout restart deployment/caddy\n',
    `  ./fairlead status${named}\n`,
    `  ./fairlead down${named}\n`,
  ].join('');
}

try {
  await main();
} catch (error) {
  process.stderr.write(renderFailure(error));
  process.exitCode = 1;
}
