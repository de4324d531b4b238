import { Command, InvalidArgumentError } from 'commander';
import { clusterOption, kubeconfigOf, kubeconfigOption } from './kubeconfig-option.ts';

type Options = {
  readonly from?: string;
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
    .addOption(kubeconfigOption())
    .addOption(clusterOption())
    .option('--cluster-domain <domain>', 'domain of all names of the cluster', 'cluster.local')
    .action(async (name: string, options: Options) => {
      await explain(name, options);
    });
}

async function explain(name: string, options: Options): Promise<void> {
  const [resources, { connectAdmin }, { isApiError }, { readWorld, lookupOfPod }, { explainDns }] =
    await Promise.all([
      import('../api/resource.ts'),
      import('./connect.ts'),
      import('../client/client.ts'),
      import('../dns/explain-world.ts'),
      import('../dns/explain.ts'),
    ]);
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
    const lookup = lookupOfPod(pod, zone, ndotsDefault);
    process.stdout.write(explainDns(name, lookup, world.table, world.options, world.routes));
    for (const problem of world.problems) process.stdout.write(`note: ${problem}\n`);
  } finally {
    client.close();
  }
}
