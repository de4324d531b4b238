import { hostname, networkInterfaces } from 'node:os';
import { basename, join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { canonicalIp, familyOf } from '../base/ip.ts';
import type { Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { KubeletConfig } from '../kubelet/run.ts';
import { relayCommandLine } from './proxy-relay.ts';

type NodeOptions = {
  readonly kubeconfig?: string;
  readonly nodeName?: string;
  readonly name?: string;
  readonly nodeIp?: readonly string[];
  readonly dataDir: string;
  readonly runDir?: string;
  readonly clusterDns: string;
  readonly clusterDomain: string;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly gateway?: string;
  readonly resolvConf: string;
  readonly cniBinDir: string;
  readonly registriesDir?: string;
  readonly staticPodDir?: string;
  readonly imageProxy?: string;
  readonly label: Readonly<Record<string, string>>;
  readonly pkiDir?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly relay: readonly { readonly fd: number; readonly port: number }[];
  readonly nodeLeaseDurationSeconds: number;
  readonly settleMs: number;
  readonly diskCheckMs: number;
  readonly proxy: boolean;
};

/** `fairlead node`: the node agent and the service proxy of one node, in the network namespace it is started in. */
export function nodeCommand(): Command {
  const command = new Command('node')
    .description('run the node agent (kubelet on containerd) and the service proxy of one node')
    .option('--kubeconfig <file>', 'how to reach the API server; without it that of the Pod it runs in')
    .option('--node-name <name>', 'name of the Node object (default: this machine’s host name)')
    .option('--name <name>', 'the same as --node-name');
  return networkOptions(command)
    .option(
      '--data-dir <dir>',
      'where the cluster keeps its data; the node’s is below nodes/NAME',
      '/var/lib/fairlead/dev',
    )
    .option(
      '--run-dir <dir>',
      'where sockets and running state are (default: /run/fairlead/ and the data directory’s name)',
    )
    .option('--resolv-conf <file>', 'resolver settings of Pods with dnsPolicy Default', '/etc/resolv.conf')
    .option('--cni-bin-dir <dir>', 'where the CNI plugins are', '/usr/lib/cni')
    .option(
      '--registries-dir <dir>',
      'mirrors and authorities of image registries, HOST/hosts.toml (default: registries in the data directory)',
    )
    .option(
      '--static-pod-dir <dir>',
      'folder of Pods that stand for host processes (default: static-pods below the node’s data)',
    )
    .option('--image-proxy <url>', 'HTTP CONNECT proxy for image pulls, such as http://10.41.0.1:3128')
    .option('--label <key=value>', 'label of the Node; may be given several times', addLabel, {})
    .option(
      '--pki-dir <dir>',
      'where ca.crt and kubelet-NAME.crt and .key are (default: pki in the data directory)',
    )
    .option('--tls-cert <file>', 'certificate of the node agent’s server')
    .option('--tls-key <file>', 'its private key')
    .option('--client-ca <file>', 'certificate authority of the API server’s client certificate')
    .option(
      '--relay <fd:port>',
      'carry connections of an inherited socket to a load balancer’s port; may be given several times',
      addRelay,
      [],
    )
    .option('--settle-ms <ms>', 'between a Pod’s leaving its Services and its SIGTERM', parseCount, 500)
    .option(
      '--disk-check-ms <ms>',
      'between two looks at the disk usage of Pods that have limits of it; those above are evicted',
      parseCount,
      10_000,
    )
    .option(
      '--node-lease-duration-seconds <count>',
      'how long the node counts as alive after a renewal of its Lease, which it makes four times in that time',
      parseCount,
      40,
    )
    .option('--no-proxy', 'run without the service proxy')
    .action(async (options: NodeOptions) => {
      await run(options);
    });
}

/** Addresses and ranges. Lists hold one of each family. */
function networkOptions(command: Command): Command {
  return command
    .option(
      '--node-ip <addresses>',
      'address of the node, or one of each family with a comma (default: the first that is not a loopback address, of IPv4 if there is one)',
      parseNodeIps,
    )
    .option('--cluster-dns <addresses>', 'DNS servers of Pods, separated by commas', '10.43.0.10')
    .option('--cluster-domain <domain>', 'domain of the cluster’s names', 'cluster.local')
    .option('--cluster-cidr <ranges>', 'ranges of all Pods, separated by commas', '10.42.0.0/16')
    .option(
      '--service-cidr <ranges>',
      'ranges of ClusterIPs, separated by commas; those of ServiceCIDRs come to them',
      '10.43.0.0/16',
    )
    .option(
      '--gateway <addresses>',
      'keep a default route to this address, or to one of each family (default: leave such routes alone)',
    );
}

async function run(options: NodeOptions): Promise<void> {
  const [{ createLogger }, { runTogether }, { loadClientConfig }, { createApiClient }, { runKubelet }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../base/lifetime.ts'),
      import('../client/kubeconfig.ts'),
      import('../client/http.ts'),
      import('../kubelet/run.ts'),
    ]);
  const config = await kubeletConfigOf(options);
  const log = createLogger('node');
  const client = createApiClient(await loadClientConfig(options.kubeconfig), { userAgent: 'fairlead-node' });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  const tasks: Task[] = [{ name: 'kubelet', run: (signal) => runKubelet(config, client, log, signal) }];
  if (options.proxy) tasks.push(proxyTask(options, config.nodeName, client, log));
  if (options.relay.length > 0) tasks.push(relayTask(options, config.nodeIps, log));
  try {
    await runTogether(tasks, stop.signal);
  } finally {
    client.close();
  }
}

async function kubeletConfigOf(options: NodeOptions): Promise<KubeletConfig> {
  const { kubeletDefaults } = await import('../kubelet/run.ts');
  const nodeName = options.nodeName ?? options.name ?? hostname();
  const runDir = options.runDir ?? join('/run/fairlead', basename(options.dataDir));
  const nodeDir = join(options.dataDir, 'nodes', nodeName);
  const pkiDir = options.pkiDir ?? join(options.dataDir, 'pki');
  return Object.freeze({
    nodeName,
    nodeIps: options.nodeIp ?? [firstAddress()],
    labels: options.label,
    paths: { nodeDir, runDir: join(runDir, 'nodes', nodeName) },
    logDir: join(options.dataDir, 'logs'),
    cniBinDir: options.cniBinDir,
    registriesDir: options.registriesDir ?? join(options.dataDir, 'registries'),
    imageProxy: options.imageProxy,
    clusterDns: options.clusterDns.split(',').filter((address) => address !== ''),
    clusterDomain: options.clusterDomain,
    resolvConf: options.resolvConf,
    serviceCidrs: options.serviceCidr.split(','),
    gateways: options.gateway?.split(','),
    cgroupRoot: `/fairlead/${basename(runDir)}/${nodeName}`,
    leaseDurationSeconds: Math.max(1, options.nodeLeaseDurationSeconds),
    zeroLoss: { ...kubeletDefaults.zeroLoss, settleMs: options.settleMs },
    diskCheckMs: Math.max(100, options.diskCheckMs),
    server: {
      certificateFile: options.tlsCert ?? join(pkiDir, `kubelet-${nodeName}.crt`),
      keyFile: options.tlsKey ?? join(pkiDir, `kubelet-${nodeName}.key`),
      clientCaFile: options.clientCa ?? join(pkiDir, 'ca.crt'),
    },
    staticPodDir: options.staticPodDir ?? join(nodeDir, 'static-pods'),
    processStateDir: join(runDir, 'processes'),
  });
}

function proxyTask(options: NodeOptions, nodeName: string, client: ApiClient, log: Logger): Task {
  return {
    name: 'proxy',
    run: async (signal) => {
      const [{ proxyDefaults }, { runProxy }] = await Promise.all([
        import('../l4/config.ts'),
        import('../l4/run.ts'),
      ]);
      const config = {
        ...proxyDefaults,
        relayCommand: relayCommandLine(),
        nodeName,
        clusterCidrs: options.clusterCidr.split(','),
        serviceCidrs: options.serviceCidr.split(','),
      };
      await runProxy(config, client, log.child({ part: 'proxy' }), signal);
    },
  };
}

function relayTask(options: NodeOptions, targetAddresses: readonly string[], log: Logger): Task {
  return {
    name: 'relay',
    run: async (signal) => {
      const { relayDefaults, runRelay } = await import('../cluster/relay.ts');
      await runRelay(options.relay, { ...relayDefaults, targetAddresses }, log, signal);
    },
  };
}

function firstAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const usable = all.filter(({ address, internal }) => !internal && !address.startsWith('fe80:'));
  const found = usable.find(({ family }) => family === 'IPv4') ?? usable[0];
  if (found === undefined) throw new Error('this machine has no address; name the node’s with --node-ip');
  return found.address;
}

/** As kubelet: one address, or one of each family, the first being the node's own family. */
export function parseNodeIps(text: string): readonly string[] {
  const addresses = text.split(',').map((part) => canonicalIp(part.trim()));
  const families = addresses.map((address) => familyOf(address ?? ''));
  if (families.includes(undefined) || new Set(families).size < families.length) {
    throw new InvalidArgumentError('give one address, or one of each family as 10.41.0.2,fd41::2.');
  }
  return addresses.flatMap((address) => address ?? []);
}

function addLabel(text: string, before: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const equals = text.indexOf('=');
  if (equals <= 0) throw new InvalidArgumentError('give it as KEY=VALUE.');
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}

function addRelay(text: string, before: NodeOptions['relay']): NodeOptions['relay'] {
  const match = /^(\d+):(\d+)$/.exec(text);
  if (match === null) throw new InvalidArgumentError('give it as FD:PORT, such as 3:8080.');
  return [...before, { fd: Number(match[1]), port: Number(match[2]) }];
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('give a number of milliseconds.');
  return Number(text);
}
