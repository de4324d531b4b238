import { Command } from 'commander';
import { nameOption } from './up.ts';

export function imageCommand(): Command {
  const image = new Command('image').description('bring images into a cluster, and list them');
  image
    .command('import')
    .description('import OCI or docker archives (tar files) into every node')
    .argument('<files...>', 'archives, as `docker save` or tools/images write them')
    .addOption(nameOption())
    .action(async (files: readonly string[], { name }: { name: string }) => {
      const { importImages } = await import('../cluster/images.ts');
      const names = await importImages(await clusterConfig(name), files);
      process.stdout.write(names.map((imported) => `imported ${imported}\n`).join(''));
    });
  image
    .command('ls')
    .description('list the images of every node')
    .addOption(nameOption())
    .action(async ({ name }: { name: string }) => {
      const [{ listImages }, { renderTable }] = await Promise.all([
        import('../cluster/images.ts'),
        import('../cli/table.ts'),
      ]);
      const images = await listImages(await clusterConfig(name));
      const rows = images.map(({ reference, nodes }) => [reference, nodes.join(',')]);
      process.stdout.write(renderTable(['IMAGE', 'NODES'], rows));
    });
  return image;
}

async function clusterConfig(name: string) {
  const [{ requireCluster }, { baseDirs }] = await Promise.all([
    import('../cluster/status.ts'),
    import('../cluster/state.ts'),
  ]);
  return (await requireCluster(name, baseDirs(process.env, process.getuid?.() ?? 0))).config;
}
