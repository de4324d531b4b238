import { Command, InvalidArgumentError } from 'commander';
import type { HostPort } from '../dns/host-view.ts';
import { clusterOption, kubeconfigOf, kubeconfigOption } from './kubeconfig-option.ts';

type Options = {
  readonly from?: string;
  readonly fromHost: boolean;
  readonly kubeconfig?: string;
  readonly name?: string;
  readonly clusterDomain: string;
};

const ndotsDefault = 5; // what Kubernetes writes into the resolv.conf of Pods

/** `fairlead explain dns`: the questions that a name leads to, and the objects behind the answer. */
export function explainDnsCommand(): Command {
  return new Command('dns')
    .description(
      'tell what a name leads to for a Pod: the searches tried, the answer and the objects behind it',
    )
    .argument('<name>', 'the name as a program asks for it; with a final dot it is not searched')
    .option(
      '--from <[namespace/]pod>',
      'who asks (default: a Pod of namespace default with the usual settings)',
    )
    .option(
      '--from-host',
      'who asks is a program of this machine (`up --resolve-on-host`); needs --name',
      false,
    )
    .addOption(kubeconfigOption())
    .addOption(clusterOption())
    .option('--cluster-domain <domain>', 'domain of all names of the cluster', 'cluster.local')
    .action(async (name: string, options: Options) => {
      await explain(name, options);
    });
}

async function explain(name: string, options: Options): Promise<void> {
  const [resources, { connectAdmin }, { isApiError }, worlds, { explainDns }] = await Promise.all([
    import('../api/resource.ts'),
    import('./connect.ts'),
    import('../client/client.ts'),
    import('../dns/explain-world.ts'),
    import('../dns/explain.ts'),
  ]);
  const { hostLookup, hostWorld, lookupOfPod, readWorld } = worlds;
  const zone = options.clusterDomain.toLowerCase();
  const client = await connectAdmin(await kubeconfigOf(options));
  try {
    const [world, pod] = await Promise.all([
      readWorld(client, zone),
      (async () => {
        if (options.from === undefined) return undefined;
        const [first = '', second] = options.from.split('/');
        const [namespace, podName] = second === undefined ? ['default', first] : [first, second];
        try {
          return await client.get(resources.pods, namespace, podName);
        } catch (error) {
          if (!isApiError(error, 'NotFound')) throw error;
          throw new InvalidArgumentError(`--from: there is no Pod ${namespace}/${podName}.`);
        }
      })(),
    ]);
    const lookup = options.fromHost ? hostLookup : lookupOfPod(pod, zone, ndotsDefault);
    const {
      table,
      options: how,
      routes,
    } = options.fromHost ? hostWorld(world, await publishedOf(options.name)) : world;
    process.stdout.write(explainDns(name, lookup, table, how, routes));
    for (const problem of world.problems) process.stdout.write(`note: ${problem}\n`);
  } finally {
    client.close();
  }
}

/** Where programs of this machine reach the ports of a cluster's load balancers. */
async function publishedOf(name: string | undefined): Promise<readonly HostPort[]> {
  if (name === undefined) throw new InvalidArgumentError('--from-host: name the cluster with --name.');
  const [{ requireCluster }, { baseDirs }, { reachedOnHost }, { addressesOf }] = await Promise.all([
    import('../cluster/status.ts'),
    import('../cluster/state.ts'),
    import('../cluster/plan.ts'),
    import('../dns/records.ts'),
  ]);
  const { config } = await requireCluster(name, baseDirs(process.env, process.getuid?.() ?? 0));
  return reachedOnHost(config.published).map(({ address, hostPort, port }) => ({
    addresses: addressesOf([address]),
    hostPort,
    port,
  }));
}
