import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';

type ServerOptions = { readonly clusterFile: string; readonly fds: readonly number[] };

export function serverCommand(): Command {
  return new Command('server')
    .description(
      'API server, controllers and scheduler of a cluster in one process (started by `fairlead up`)',
    )
    .requiredOption('--cluster-file <file>', 'the cluster.json that `fairlead up` wrote')
    .requiredOption('--fds <numbers>', 'inherited listening sockets for the API, with commas', descriptors)
    .action(async (options: ServerOptions) => {
      await runServer(options);
    });
}

function descriptors(text: string): readonly number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError('use numbers with commas');
  return text.split(',').map(Number);
}

/** The code of the whole server; loaded ahead of its use at a gated start. */
export async function loadServer() {
  const [apiServer, controllers, http, kubeconfig, config, ranges, state, lifetime, log] = await Promise.all([
    import('../apiserver/run.ts'),
    import('../controllers/run.ts'),
    import('../client/http.ts'),
    import('../client/kubeconfig.ts'),
    import('../cluster/config.ts'),
    import('../cluster/ranges.ts'),
    import('../cluster/state.ts'),
    import('../base/lifetime.ts'),
    import('../base/log.ts'),
    import('../store/sqlite.ts'),
    import('./apiserver.ts'),
  ]);
  return {
    ...apiServer,
    ...controllers,
    ...http,
    ...kubeconfig,
    ...config,
    ...ranges,
    ...state,
    ...lifetime,
    ...log,
  };
}

async function runServer({ clusterFile, fds }: ServerOptions): Promise<void> {
  const code = await loadServer();
  const [{ readApiServerPki }, { signingDurationMsDefault }] = await Promise.all([
    import('./apiserver.ts'),
    import('./controllers.ts'),
  ]);
  const { apiServerDefaults } = await import('../apiserver/config.ts');
  const state = await code.readState(clusterFile);
  if (state === undefined)
    throw new Error(`${clusterFile} does not exist; clusters are started by \`fairlead up\``);
  const { config } = state;
  const paths = code.pathsOf(config);
  const ranges = code.rangesOf(config);
  const pki = await readApiServerPki(paths.pki);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const log = code.createLogger('server');
  const apiServer = {
    ...apiServerDefaults,
    dataDir: config.dataDir,
    listen: [],
    listenFds: fds,
    advertiseAddress: code.nodesOf(config)[0]?.address ?? '',
    advertisePort: code.apiNodePort,
    serviceCidrs: ranges.map(({ services }) => services),
    clusterDomain: code.clusterDomain,
    pki,
  };
  const client = code.createApiClient(await code.loadKubeconfig(`${paths.kubeconfigDir}/controllers.yaml`), {
    userAgent: 'fairlead-controllers',
  });
  const controllers = {
    ...code.controllersDefaults,
    clusterCidr: ranges.map(({ pods }) => pods).join(','),
    certificateAuthority: pki.caCert,
    signing: {
      authority: { certificate: pki.caCert, key: await readFile(join(paths.pki, 'ca.key'), 'utf8') },
      durationMsMax: signingDurationMsDefault,
    },
    nodeMonitorGraceMs: code.nodeGraceSecondsOf(config) * 1000,
  };
  // The controllers' first requests wait in the socket's backlog until the API server accepts.
  await code.runTogether(
    [
      {
        name: 'apiserver',
        run: async (signal) =>
          code.runApiServer(apiServer, log.child({ component: 'apiserver' }), signal, () =>
            log.info('ready', { part: 'apiserver' }),
          ),
      },
      {
        name: 'controllers',
        run: async (signal) =>
          code.runControllers(controllers, client, log.child({ component: 'controllers' }), signal, {
            onReady: () => log.info('ready', { part: 'controllers' }),
          }),
      },
    ],
    stop.signal,
  );
  client.close();
}
