import { hostname } from 'node:os';
import { Command } from 'commander';
import { graceSeconds } from './up.ts';

type Options = {
  readonly kubeconfig?: string;
  readonly clusterCidr: string;
  readonly leaderElect: boolean;
  readonly controllers: string;
  readonly nodeMonitorGraceSeconds: number;
};

/** `fairlead controllers`: the control loops and the scheduler, against any API server. */
export function controllersCommand(): Command {
  return new Command('controllers')
    .description('run the controllers and the scheduler against an API server')
    .option('--kubeconfig <file>', 'how to reach the API server (default: the service account of this Pod)')
    .option(
      '--cluster-cidr <cidrs>',
      'Pod network that nodes get their /24 from (of IPv6: /64); one of each family, separated by a comma',
      '10.42.0.0/16',
    )
    .option('--leader-elect', 'work only while holding the Lease kube-system/fairlead-controllers', false)
    .option(
      '--node-monitor-grace-seconds <count>',
      'a node that has not been heard of for this long is NotReady',
      graceSeconds,
      50,
    )
    .option('--controllers <names>', 'comma-separated list of controllers, or * for all', '*')
    .action(async (options: Options) => {
      await main(options);
    });
}

async function main(options: Options): Promise<void> {
  const [{ createLogger }, { createApiClient }, { loadClientConfig }, { controllerNames, runControllers }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../client/http.ts'),
      import('../client/kubeconfig.ts'),
      import('../controllers/run.ts'),
    ]);
  const names = options.controllers === '*' ? controllerNames : options.controllers.split(',');
  const unknown = names.filter((name) => !controllerNames.includes(name));
  if (unknown.length > 0) {
    throw new Error(`--controllers: no ${unknown.join(', ')}; there are ${controllerNames.join(', ')}`);
  }
  const clientConfig = await loadClientConfig(options.kubeconfig);
  const config = Object.freeze({
    controllers: names,
    clusterCidr: options.clusterCidr,
    certificateAuthority: clientConfig.certificateAuthority,
    nodeMonitorGraceMs: options.nodeMonitorGraceSeconds * 1000,
    leaderElect: options.leaderElect,
    identity: `${hostname()}_${process.pid}`,
  });
  const log = createLogger('controllers');
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  const client = createApiClient(clientConfig, { userAgent: 'fairlead-controllers' });
  try {
    await runControllers(config, client, log, stop.signal, {
      onReady: () => log.info('ready', { controllers: names.length, server: clientConfig.server }),
    });
  } finally {
    client.close();
  }
}
