import { hostname } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { ProxyMode } from '../l4/config.ts';
import { relayCommandLine } from './proxy-relay.ts';

type ProxyOptions = {
  readonly kubeconfig?: string;
  readonly nodeName: string;
  readonly clusterCidr: string;
  readonly serviceCidr: string;
  readonly healthAddress: HealthAddressOption;
  readonly mode: ProxyMode;
};

/** 'none' and not undefined: commander turns an undefined that a parser returns into ''. */
type HealthAddressOption = { readonly host: string; readonly port: number } | 'none';

/** `fairlead proxy`: the Service data plane of one node, for a cluster of ours or any other. */
export function proxyCommand(): Command {
  return new Command('proxy')
    .description('run the service proxy of one node')
    .option('--kubeconfig <file>', 'how to reach the API server; without it that of the Pod it runs in')
    .option('--node-name <name>', 'name of the Node object of this machine', hostname())
    .option('--cluster-cidr <ranges>', 'ranges of all Pods, separated by commas', '10.42.0.0/16')
    .option(
      '--service-cidr <ranges>',
      'ranges of ClusterIPs, separated by commas; what has no rule in them, or in a ServiceCIDR of the API, is refused',
      '10.43.0.0/16',
    )
    .option(
      '--health-address <host:port>',
      'where /healthz, /metrics and /debug/ruleset are served; "" for nowhere',
      parseHealthAddress,
      { host: '127.0.0.1', port: 10256 },
    )
    .addOption(
      new Option(
        '--mode <mode>',
        'how Services are served; auto is nftables, or userspace where that cannot be used',
      )
        .choices(['auto', 'nftables', 'userspace'] satisfies readonly ProxyMode[])
        .default('auto' satisfies ProxyMode),
    )
    .action(async (options: ProxyOptions) => {
      await run(options);
    });
}

async function run(options: ProxyOptions): Promise<void> {
  const [{ createLogger }, { loadClientConfig }, { createApiClient }, { proxyDefaults }, { runProxy }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../client/kubeconfig.ts'),
      import('../client/http.ts'),
      import('../l4/config.ts'),
      import('../l4/run.ts'),
    ]);
  const log = createLogger('proxy');
  const config = Object.freeze({
    ...proxyDefaults,
    relayCommand: relayCommandLine(),
    nodeName: options.nodeName,
    clusterCidrs: parseRanges('--cluster-cidr', options.clusterCidr),
    serviceCidrs: parseRanges('--service-cidr', options.serviceCidr),
    mode: options.mode,
    healthAddress: options.healthAddress === 'none' ? undefined : options.healthAddress,
  });
  const client = createApiClient(await loadClientConfig(options.kubeconfig), {
    userAgent: 'fairlead-proxy',
  });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  try {
    await runProxy(config, client, log, stop.signal);
  } finally {
    client.close();
  }
}

function parseHealthAddress(text: string): HealthAddressOption {
  if (text === '') return 'none';
  const match = /^(.*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] === undefined || port > 65_535) {
    throw new InvalidArgumentError('give it as HOST:PORT, such as 127.0.0.1:10256 or [::1]:10256.');
  }
  return { host: match[1].replace(/^\[(.*)\]$/, '$1'), port };
}

/** Checked here, because a range that is misread would refuse or masquerade the wrong traffic. */
function parseRanges(option: string, text: string): readonly string[] {
  const ranges = text.split(',').filter((range) => range !== '');
  for (const range of ranges) {
    if (!/^[0-9a-fA-F.:]+\/\d{1,3}$/.test(range)) {
      throw new InvalidArgumentError(`${option}: "${range}" is no range such as 10.42.0.0/16.`);
    }
  }
  return ranges;
}
