import { readFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Upstream } from '../dns/forward.ts';
import type { HostPort } from '../dns/host-view.ts';
import { addressesOf } from '../dns/records.ts';
import type { ListenAddress } from '../dns/server.ts';
import { fairleadVersion } from './version.ts';

type DnsOptions = {
  readonly kubeconfig?: string;
  readonly listen: readonly ListenAddress[];
  readonly clusterDomain: string;
  readonly upstream?: string;
  readonly healthAddress: ListenAddress | ''; // commander turns undefined into ''
  readonly ttl: number;
  readonly clientRate: number;
  readonly pods: 'insecure' | 'verified';
  readonly autopath: boolean;
  readonly udpFd: readonly InheritedUdp[];
  readonly tcpFd: readonly number[];
  readonly hostUdpFd: readonly InheritedUdp[];
  readonly hostTcpFd: readonly number[];
  readonly hostPort: readonly HostPort[];
};

type InheritedUdp = { readonly fd: number; readonly address: string };

/** Resolvers taken from resolv.conf, as resolv.conf(5). */
const resolversMax = 3;
const resolvConf = '/etc/resolv.conf';

/** `fairlead dns`: cluster DNS, for a cluster of ours or any other. */
export function dnsCommand(): Command {
  return new Command('dns')
    .description('run the cluster DNS server')
    .option('--kubeconfig <file>', 'how to reach the API server; without it that of the Pod it runs in')
    .addOption(
      new Option(
        '--listen <host:port>',
        'where queries are answered, on UDP and TCP; may be repeated, as for both 0.0.0.0:53 and [::]:53',
      )
        .argParser((text: string, before: readonly ListenAddress[]) => [...before, parseAddress(text)])
        .default([], '0.0.0.0:53'),
    )
    .option('--cluster-domain <domain>', 'domain of all names of the cluster', parseDomain, 'cluster.local')
    .option(
      '--upstream <addresses>',
      'servers for names outside the cluster, separated by commas, each ADDRESS or ADDRESS:PORT; "none": such ' +
        `names are refused (default: those of ${resolvConf})`,
    )
    .option(
      '--health-address <host:port>',
      'where /healthz, /readyz, /metrics and /debug/records are served; "" for nowhere',
      (text) => (text === '' ? '' : parseAddress(text)),
      { host: '0.0.0.0', port: 9153 },
    )
    .option('--ttl <seconds>', 'how long clients may keep a name of the cluster, 0 to 3600', parseTtl, 5)
    .addOption(
      new Option('--pods <mode>', 'names of Pods: of any address, or only of Pods that there are')
        .choices(['insecure', 'verified'])
        .default('insecure'),
    )
    .option('--autopath', "answer the first of a Pod's searches with what its last would find", false)
    .option(
      '--client-rate <queries>',
      'queries a second that one client may ask; 0 for no limit',
      parseRate,
      20_000,
    )
    .option(
      '--udp-fd <fd:address>',
      'an inherited UDP socket and the address it is bound to; may be repeated',
      parseUdpFd,
      [],
    )
    .option('--tcp-fd <fd>', 'an inherited listening TCP socket; may be repeated', parseTcpFd, [])
    .option(
      '--host-udp-fd <fd:address>',
      'the same for programs beside the cluster, which see names as they reach them; may be repeated',
      parseUdpFd,
      [],
    )
    .option('--host-tcp-fd <fd>', 'the same for TCP; may be repeated', parseTcpFd, [])
    .option(
      '--host-port <address:hostport:port>',
      'where such programs reach a port of load balancers; may be repeated',
      parseHostPort,
      [],
    )
    .action(async (options: DnsOptions) => {
      await run(options);
    });
}

async function run(options: DnsOptions): Promise<void> {
  const [{ createLogger }, { loadClientConfig }, { createApiClient }, { runDns }, { parseUpstream }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../client/kubeconfig.ts'),
      import('../client/http.ts'),
      import('../dns/run.ts'),
      import('../dns/forward.ts'),
    ]);
  const config = Object.freeze({
    listen: options.listen.length === 0 ? [{ host: '0.0.0.0', port: 53 }] : options.listen,
    clusterDomain: options.clusterDomain,
    upstreams: upstreamsOf(options.upstream, parseUpstream),
    ttlSeconds: options.ttl,
    podsVerified: options.pods === 'verified',
    autopath: options.autopath,
    version: fairleadVersion,
    clientQueriesPerSecond: options.clientRate,
    inherited: { udp: options.udpFd, tcp: options.tcpFd },
    host:
      options.hostUdpFd.length === 0 && options.hostTcpFd.length === 0
        ? undefined
        : {
            sockets: { udp: options.hostUdpFd, tcp: options.hostTcpFd },
            published: options.hostPort,
          },
    healthAddress: options.healthAddress === '' ? undefined : options.healthAddress,
  });
  const client = createApiClient(await loadClientConfig(options.kubeconfig), { userAgent: 'fairlead-dns' });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  try {
    await runDns(config, client, createLogger('dns'), stop.signal);
  } finally {
    client.close();
  }
}

function upstreamsOf(
  text: string | undefined,
  parseUpstream: (text: string) => Upstream | undefined,
): readonly Upstream[] {
  if (text === 'none' || text === '') return [];
  if (text === undefined) return systemResolvers().flatMap((address) => parseUpstream(address) ?? []);
  return text.split(',').map((part) => {
    const upstream = parseUpstream(part.trim());
    if (upstream !== undefined) return upstream;
    throw new InvalidArgumentError(
      `--upstream: "${part}" is no address such as 10.0.0.1, 10.0.0.1:5353 or [fd00::1]:53.`,
    );
  });
}

function systemResolvers(): readonly string[] {
  let text: string;
  try {
    text = readFileSync(resolvConf, 'utf8');
  } catch {
    return []; // no such file: nobody to ask
  }
  const addresses = text.split('\n').flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? []);
  return addresses.slice(0, resolversMax);
}

function parseAddress(text: string): ListenAddress {
  const match = /^(.*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 65_535) {
    throw new InvalidArgumentError('give it as HOST:PORT, such as 0.0.0.0:53 or [::]:53.');
  }
  return { host: match[1].replace(/^\[(.*)\]$/, '$1'), port };
}

function parseDomain(text: string): string {
  const domain = text.toLowerCase().replace(/\.$/, '');
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  if (domain.length <= 200 && new RegExp(`^${label}(\\.${label})*$`).test(domain)) return domain;
  throw new InvalidArgumentError('give a domain name such as cluster.local.');
}

function parseTtl(text: string): number {
  const seconds = Number(text);
  if (/^\d{1,4}$/.test(text) && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('give a number of seconds from 0 to 3600.');
}

function parseRate(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('give a number of queries a second, 0 for no limit.');
}

function parseUdpFd(text: string, before: readonly InheritedUdp[]): readonly InheritedUdp[] {
  const match = /^(\d+):(.+)$/.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new InvalidArgumentError('give it as FD:ADDRESS, such as 3:10.41.0.2.');
  }
  return [...before, { fd: Number(match[1]), address: match[2] }];
}

function parseHostPort(text: string, before: readonly HostPort[]): readonly HostPort[] {
  const match = /^(.+):(\d{1,5}):(\d{1,5})$/.exec(text);
  const addresses = addressesOf([(match?.[1] ?? '').replace(/^\[(.*)\]$/, '$1')]);
  if (addresses.v4.length + addresses.v6.length === 0) {
    throw new InvalidArgumentError('give it as ADDRESS:HOSTPORT:PORT, such as 127.0.0.1:8080:80.');
  }
  return [...before, { addresses, hostPort: Number(match?.[2]), port: Number(match?.[3]) }];
}

function parseTcpFd(text: string, before: readonly number[]): readonly number[] {
  if (/^\d+$/.test(text)) return [...before, Number(text)];
  throw new InvalidArgumentError('give the number of a descriptor.');
}
