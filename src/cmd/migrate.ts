import { Command, InvalidArgumentError, Option } from 'commander';
import type { Ingress } from '../api/gen/networking-v1.ts';
import { kubeconfigOption, resolveKubeconfig } from './kubeconfig-option.ts';

type Options = {
  readonly filename?: readonly string[];
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly fromClass: string;
  readonly ingressClass: string;
  readonly output: 'text' | 'json' | 'yaml';
};

/** Something has no equal: the exit status of `fairlead migrate`. */
const statusNoEqual = 2;
const widthDefault = 110;

export function migrateCommand(): Command {
  return new Command('migrate')
    .description('tell what a move from another Ingress controller means')
    .addCommand(migrateNginxCommand());
}

function migrateNginxCommand(): Command {
  return new Command('ingress-nginx')
    .description(
      'read Ingresses written for ingress-nginx; print what is honoured as it is, what behaves differently and what has no equal, and the replacement of each. Nothing is changed anywhere.',
    )
    .option(
      '-f, --filename <path>',
      'a file, a folder with all below it, or "-" for standard input (repeatable)',
      addName,
    )
    .addOption(kubeconfigOption())
    .option('-n, --namespace <name>', 'with a cluster: only this namespace')
    .option('--from-class <name>', 'the IngressClass of ingress-nginx', 'nginx')
    .option('--ingress-class <name>', 'the IngressClass that replacements name', 'fairlead')
    .addOption(
      new Option(
        '-o, --output <format>',
        'text for people, json for programs, yaml: the replacements, for kubectl apply',
      )
        .choices(['text', 'json', 'yaml'])
        .default('text'),
    )
    .addHelpText(
      'after',
      `
Exit status: 0 if everything has an equal (some of it may behave differently), ${statusNoEqual} if something has none, 1 if it could
not be found out.

Examples:
  fairlead migrate ingress-nginx -f manifests/
  fairlead migrate ingress-nginx -n shop                        what the cluster of the current kubeconfig has
  helm template . | fairlead migrate ingress-nginx -f -
  fairlead migrate ingress-nginx -f manifests/ -o yaml | kubectl apply -f -

To serve them as they are: fairlead ingress --ingress-class nginx --nginx-annotations
`,
    )
    .action(async (options: Options) => {
      await migrateNginx(options);
    });
}

function addName(name: string, before: readonly string[] = []): readonly string[] {
  return [...before, name];
}

async function migrateNginx(options: Options): Promise<void> {
  const { filename, kubeconfig, namespace } = options;
  if (filename !== undefined && (kubeconfig !== undefined || namespace !== undefined)) {
    throw new InvalidArgumentError('give -f or a cluster (--kubeconfig, --namespace), not both.');
  }
  const [{ planMigration }, text] = await Promise.all([
    import('../l7/nginx/migration.ts'),
    import('../l7/nginx/migration-text.ts'),
  ]);
  const ingresses = filename === undefined ? await fromCluster(options) : await fromFiles(filename);
  const migration = planMigration(ingresses, {
    fromClass: options.fromClass,
    toClass: options.ingressClass,
  });
  const { stdout } = process;
  const coloured = stdout.isTTY && (process.env['NO_COLOR'] ?? '') === '';
  const style = coloured ? text.colourStyle : text.plainStyle;
  if (options.output === 'json') stdout.write(text.renderMigrationJson(migration));
  else if (options.output === 'yaml') stdout.write(text.renderManifests(migration));
  else stdout.write(text.renderMigration(migration, style, Math.max(60, stdout.columns ?? widthDefault)));
  if (migration.ingresses.some(({ verdict }) => verdict === 'none')) process.exitCode = statusNoEqual;
}

async function fromCluster({ kubeconfig, namespace }: Options): Promise<readonly Ingress[]> {
  const [{ connectAdmin }, { ingresses }] = await Promise.all([
    import('./connect.ts'),
    import('../api/resource.ts'),
  ]);
  const client = await connectAdmin(resolveKubeconfig(kubeconfig));
  try {
    return (await client.list(ingresses, namespace === undefined ? {} : { namespace })).items;
  } finally {
    client.close();
  }
}

async function fromFiles(names: readonly string[]): Promise<readonly Ingress[]> {
  const { readIngresses } = await import('../cli/manifest-files.ts');
  return (await Promise.all(names.map((name) => readIngresses(name)))).flat();
}
