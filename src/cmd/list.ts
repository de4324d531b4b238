import { Command } from 'commander';

export function listCommand(): Command {
  return new Command('list').description('list the clusters of this machine').action(async () => {
    const [{ listClusters }, { baseDirs }, { renderAge, renderTable }] = await Promise.all([
      import('../cluster/status.ts'),
      import('../cluster/state.ts'),
      import('../cli/table.ts'),
    ]);
    const clusters = await listClusters(baseDirs(process.env, process.getuid?.() ?? 0));
    if (clusters.length === 0) {
      process.stdout.write('No clusters. `fairlead up` starts one.\n');
      return;
    }
    const rows = clusters.map(({ state, running }) => [
      state.config.name,
      running ? 'Running' : 'Stopped',
      String(state.config.agents + 1),
      state.config.published.map(({ hostPort, port }) => `${hostPort}:${port}`).join(',') || '<none>',
      renderAge(Date.now() - state.startedAtMs),
      state.config.dataDir,
    ]);
    process.stdout.write(renderTable(['NAME', 'STATUS', 'NODES', 'PORTS', 'AGE', 'DATA'], rows));
  });
}
