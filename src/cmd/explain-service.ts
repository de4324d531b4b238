import { Command, InvalidArgumentError } from 'commander';
import { clusterOption, kubeconfigOf, kubeconfigOption } from './kubeconfig-option.ts';

type Options = {
  readonly from?: string;
  readonly node?: string;
  readonly kubeconfig?: string;
  readonly name?: string;
  readonly clusterCidr?: string;
  readonly serviceCidr: string;
};

/** `fairlead explain service`: from API objects to rules to the fate of a packet, without touching a node. */
export function explainServiceCommand(): Command {
  return new Command('service')
    .description('tell what becomes of packets to a Service, and by which rules')
    .argument('<[namespace/]name>', 'the Service')
    .option('--from <ip>', 'source of the packet (default: one from each place there is)')
    .option('--node <name>', 'only the rules of this node (default: all nodes)')
    .addOption(kubeconfigOption())
    .addOption(clusterOption())
    .option(
      '--cluster-cidr <ranges>',
      'ranges of all Pods, separated by commas (default: what covers the nodes’ podCIDRs)',
    )
    .option('--service-cidr <ranges>', 'ranges of ClusterIPs beside those of ServiceCIDRs', '10.43.0.0/16')
    .action(async (name: string, options: Options) => {
      await explain(name, options);
    });
}

async function explain(text: string, options: Options): Promise<void> {
  const [
    { explainService },
    { coveringRanges },
    resources,
    { canonicalIp },
    { connectAdmin },
    { isApiError },
  ] = await Promise.all([
    import('../l4/explain.ts'),
    import('../l4/observed-ranges.ts'),
    import('../api/resource.ts'),
    import('../base/ip.ts'),
    import('./connect.ts'),
    import('../client/client.ts'),
  ]);
  const { endpointSlices, nodes, serviceCidrs, services } = resources;
  const from = options.from === undefined ? undefined : canonicalIp(options.from);
  if (options.from !== undefined && from === undefined) {
    throw new InvalidArgumentError(`--from: "${options.from}" is no IP address.`);
  }
  const [namespace = '', name = ''] = text.includes('/') ? text.split('/') : ['default', text];
  const client = await connectAdmin(await kubeconfigOf(options));
  try {
    const [service, all, slices, nodeList, ranges] = await Promise.all([
      client.get(services, namespace, name),
      client.list(services),
      client.list(endpointSlices, { namespace, labelSelector: `kubernetes.io/service-name=${name}` }),
      client.list(nodes),
      client.list(serviceCidrs).catch((error: unknown) => {
        // A cluster may be too old to have them, or keep them from this user: then the option has to tell the ranges.
        if (!isApiError(error, 'NotFound') && !isApiError(error, 'Forbidden')) throw error;
        return { items: [] };
      }),
    ]);
    process.stdout.write(
      explainService(
        {
          service,
          slices: slices.items,
          services: all.items,
          nodes: nodeList.items,
          serviceCidrs: ranges.items,
        },
        {
          from,
          nodeName: options.node,
          clusterCidrs:
            options.clusterCidr?.split(',') ??
            coveringRanges(nodeList.items.flatMap(({ spec }) => spec?.podCIDRs ?? spec?.podCIDR ?? [])),
          serviceCidrs: options.serviceCidr.split(','),
        },
      ),
    );
  } finally {
    client.close();
  }
}
