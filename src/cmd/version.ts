import { Command } from 'commander';
import { nameOption } from './up.ts';

export const fairleadVersion = '0.1.0';

/** How long the cluster may take to tell its version. */
const serverTimeoutMs = 2_000;

export function versionCommand(): Command {
  return new Command('version')
    .description('print the versions of this program and, where one runs, of the cluster')
    .addOption(nameOption())
    .option('--client', 'only of this program', false)
    .action(async ({ name, client }: { name: string; client: boolean }) => {
      process.stdout.write(`Client Version: v${fairleadVersion}\nNode.js: ${process.version}\n`);
      if (client) return;
      const [{ requireCluster }, { baseDirs }, { connectAdmin }, { pathsOf }] = await Promise.all([
        import('../cluster/status.ts'),
        import('../cluster/state.ts'),
        import('./connect.ts'),
        import('../cluster/config.ts'),
      ]);
      try {
        const { config } = await requireCluster(name, baseDirs(process.env, process.getuid?.() ?? 0));
        const api = await connectAdmin(pathsOf(config).adminKubeconfig);
        const body = JSON.parse(await api.raw('/version', AbortSignal.timeout(serverTimeoutMs))) as {
          gitVersion: string;
        };
        api.close();
        process.stdout.write(`Server Version: ${body.gitVersion}\n`);
      } catch (error) {
        process.stdout.write(
          `Server Version: none (${error instanceof Error ? error.message : String(error)})\n`,
        );
      }
    });
}
