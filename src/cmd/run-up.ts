import { createProgress } from '../cli/progress.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { type IpFamilies, ipFamiliesOf } from '../cluster/ranges.ts';
import { userKubeconfigPath } from '../cluster/kubeconfig.ts';
import { ownLauncher } from '../cluster/launch.ts';
import { connectAdmin } from './connect.ts';
import { contextNameOf, upCluster, type UpRequest } from '../cluster/up.ts';

export type UpArguments = Omit<UpRequest, 'mergeInto'> & { readonly merge: boolean };

/** `fairlead up`: starts, tells what runs, and in the foreground stays until it is interrupted. */
export async function runUp({ merge, ...wanted }: UpArguments): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const progress = createProgress(process.stderr, () => performance.now());
  const request: UpRequest = { ...wanted, mergeInto: merge ? userKubeconfigPath(process.env) : undefined };
  const { config, wasRunning, supervisor } = await upCluster(
    request,
    { env: process.env, launcher: ownLauncher(), nowMs: Date.now, connect: connectAdmin, ...progress },
    stop.signal,
  );
  const seconds = (performance.now() / 1000).toFixed(1);
  process.stdout.write(renderUp(config, request, wasRunning ? 'was running' : `is up after ${seconds} s`));
  if (!wanted.foreground || supervisor === undefined) return;
  await new Promise<void>((resolve) => {
    if (stop.signal.aborted) resolve();
    stop.signal.addEventListener('abort', () => resolve(), { once: true });
    supervisor.child.once('exit', () => resolve());
  });
  process.stderr.write('\ntaking the cluster down\n');
  const { runDown } = await import('./run-down.ts');
  await runDown({ names: [config.name], all: false, dataDir: config.dataDir });
}

const familyWords: Readonly<Record<IpFamilies, string>> = {
  ipv4: '',
  ipv6: ' with IPv6 addresses',
  dual: ' with IPv4 and IPv6 addresses',
};

/** What a person does next. Pure. */
export function renderUp(
  config: ClusterConfig,
  request: Pick<UpRequest, 'mergeInto' | 'foreground'>,
  how: string,
): string {
  const named = config.name === 'dev' ? '' : ` --name ${config.name}`;
  const ports = config.published.map(({ hostPort, port, hostAddresses }) => {
    const host = hostAddresses.includes('127.0.0.1') ? 'localhost' : (hostAddresses[0] ?? 'localhost');
    const scheme = port === 443 ? 'https' : 'http';
    const standard = hostPort === (port === 443 ? 443 : 80);
    const url = `${scheme}://${host.includes(':') ? `[${host}]` : host}${standard ? '' : `:${hostPort}`}/`;
    const what = port === 80 || port === 443 ? 'Ingresses' : `LoadBalancer Services with port ${port}`;
    return `  ${url.padEnd(28)} ${what}\n`;
  });
  const kubectl =
    request.mergeInto === undefined ? `kubectl --kubeconfig ${config.dataDir}/kubeconfig.yaml` : 'kubectl';
  return [
    `\nCluster ${config.name} ${how}: ${config.agents + 1} node${config.agents === 0 ? '' : 's'}${familyWords[ipFamiliesOf(config)]}`,
    request.mergeInto === undefined ? '.' : `, kubectl context ${contextNameOf(config.name)}.`,
    '\n\n',
    ...ports,
    ports.length === 0 ? '' : '\n',
    `  ${kubectl} get nodes -o wide\n`,
    `  fairlead status${named}\n`,
    request.foreground ? '  Ctrl-C takes it down\n' : `  fairlead down${named}\n`,
  ].join('');
}
