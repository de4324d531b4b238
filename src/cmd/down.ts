import { Command } from 'commander';
import { nameOption } from './up.ts';

type DownOptions = { readonly name: string; readonly all: boolean; readonly dataDir?: string };

export function downCommand(): Command {
  return new Command('down')
    .description(
      'take a cluster down: its processes, containers, namespaces, mounts, data and kubectl context',
    )
    .addOption(nameOption())
    .option('--all', 'every cluster of this machine', false)
    .option('--data-dir <dir>', 'its data directory, only needed when nothing else tells where it was')
    .addHelpText(
      'after',
      '\nExamples:\n  fairlead down\n  fairlead down --name test\n  fairlead down --all\n',
    )
    .action(async (options: DownOptions) => {
      const { runDown } = await import('./run-down.ts');
      await runDown({ names: [options.name], all: options.all, dataDir: options.dataDir });
    });
}
