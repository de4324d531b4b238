import { Command } from 'commander';
import { nameOption } from './up.ts';

type LogsOptions = { readonly name: string; readonly follow: boolean; readonly lines: string };

export function logsCommand(): Command {
  return new Command('logs')
    .description('print what a component wrote: server, node-server-0, dns, ingress, supervisor, …')
    .argument('<component>', 'name of the process, as `fairlead status` shows it')
    .addOption(nameOption())
    .option('-f, --follow', 'go on printing what is added', false)
    .option('--lines <count>', 'last lines only; 0 means all', '0')
    .addHelpText('after', '\nExamples:\n  fairlead logs ingress\n  fairlead logs server -f --lines 20\n')
    .action(async (component: string, options: LogsOptions) => {
      const [{ printLog }, { requireCluster }, { baseDirs }] = await Promise.all([
        import('../cluster/print-log.ts'),
        import('../cluster/status.ts'),
        import('../cluster/state.ts'),
      ]);
      const { config } = await requireCluster(options.name, baseDirs(process.env, process.getuid?.() ?? 0));
      const stop = new AbortController();
      process.once('SIGINT', () => stop.abort());
      process.stdout.once('error', () => stop.abort()); // the reader of a pipe has seen enough
      const lines = Number(options.lines);
      if (!Number.isInteger(lines) || lines < 0)
        throw new Error(`--lines is a whole number, not "${options.lines}"`);
      await printLog(config, component, { lines, follow: options.follow }, process.stdout, stop.signal);
    });
}
