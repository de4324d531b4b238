import { Command } from 'commander';

export function supervisorCommand(): Command {
  return new Command('supervisor')
    .description('run the processes of a cluster (started by `fairlead up`)')
    .requiredOption('--cluster-file <file>', 'the cluster.json that `fairlead up` wrote')
    .action(async (options: { clusterFile: string }) => {
      await superviseCluster(options.clusterFile);
    });
}

async function superviseCluster(clusterFile: string): Promise<void> {
  const [{ createLogger }, { runSupervisor }, { runGateway }, { openControl, ownLauncher }, { readState }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../cluster/supervisor.ts'),
      import('../cluster/gateway.ts'),
      import('../cluster/launch.ts'),
      import('../cluster/state.ts'),
    ]);
  const state = await readState(clusterFile);
  if (state === undefined)
    throw new Error(`${clusterFile} does not exist; clusters are started by \`fairlead up\``);
  const log = createLogger('supervisor');
  const stop = new AbortController();
  process.once('SIGTERM', () => stop.abort());
  process.once('SIGINT', () => stop.abort());
  process.on('SIGHUP', () => {}); // the terminal that `up` ran in is gone: no reason to stop
  const control = openControl();
  void control.abandoned.then(() => {
    log.warn('`fairlead up` ended before its work was done, stopping');
    stop.abort();
  });
  try {
    await runSupervisor(
      state.config,
      {
        launcher: ownLauncher(),
        report: (step) => control.report({ kind: 'step', step }),
        credentials: control.released,
        runGateway: async (config, signal) => runGateway(config, log, signal),
      },
      log,
      stop.signal,
    );
  } catch (error) {
    log.error('the supervisor failed', { error });
    control.report({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
  }
}
