import { Command, InvalidArgumentError } from 'commander';
import { formatHostPort } from '../base/ip.ts';
import type { ExplainRequest } from '../l7/routes/explain.ts';
import { nameOption } from './up.ts';

type Options = {
  readonly request: string;
  readonly header: readonly string[];
  readonly client: string;
  readonly name: string;
  readonly address?: string;
  readonly kubeconfig?: string;
  readonly ingressClass: string;
  readonly nginxAnnotations: boolean;
  readonly nginxAllowedHeaders: readonly string[];
  readonly controllerName: string;
};

/** `fairlead explain URL`: which Ingress rule a request meets, and which endpoints may get it. */
export function explainUrlCommand(): Command {
  return new Command('url')
    .description('tell which Ingress rule a request to the URL meets, and which endpoints may get it')
    .argument('<url>', 'an http:// or https:// URL, as a client would write it')
    .option('-X, --request <method>', 'method of the request', 'GET')
    .option('-H, --header <line>', 'header of the request (repeatable)', addLine, [])
    .option('--client <ip>', 'address of the client', '127.0.0.1')
    .addOption(nameOption())
    .option('--address <addr:port>', 'ask the ingress with this --health-address, in any cluster')
    .option('--kubeconfig <file>', 'ask no ingress: work it out from the objects of that API server')
    .option(
      '--ingress-class <name,…>',
      'with --kubeconfig: the classes of the ingress asked about',
      'fairlead',
    )
    .option(
      '--controller-name <name>',
      'with --kubeconfig: what spec.controller of its classes says',
      'fairlead.dev/ingress',
    )
    .option('--nginx-annotations', 'with --kubeconfig: as an ingress with this option would', false)
    .option(
      '--nginx-allowed-headers <name,…>',
      'with --kubeconfig: as an ingress with this option would',
      splitList,
      [],
    )
    .action(async (url: string, options: Options) => {
      await explain(parseUrl(url), options);
    });
}

function splitList(text: string): readonly string[] {
  return text.split(',').filter((item) => item !== '');
}

function addLine(line: string, before: readonly string[]): readonly string[] {
  if (line.indexOf(':') < 1) throw new InvalidArgumentError('write it as "Name: value".');
  return [...before, line];
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError(`"${text}" is no http:// or https:// URL.`);
  }
  return url;
}

async function explain(url: URL, options: Options): Promise<void> {
  if (options.address !== undefined) await askIngress(options.address, url, options);
  else if (options.kubeconfig !== undefined) await workOut(options.kubeconfig, url, options);
  else await askCluster(url, options);
}

async function askIngress(address: string, url: URL, options: Options): Promise<void> {
  const { UserError } = await import('../base/user-error.ts');
  const query = new URLSearchParams({ url: url.href, method: options.request, client: options.client });
  for (const line of options.header) query.append('header', line);
  let text: string;
  try {
    const response = await fetch(`http://${address}/debug/explain?${query.toString()}`);
    text = await response.text();
    if (!response.ok) throw new UserError(text.trim());
  } catch (cause) {
    if (cause instanceof UserError) throw cause;
    throw new UserError(`no ingress answers at ${address}: is it its --health-address?`);
  }
  process.stdout.write(text);
}

/** The health port of a cluster's ingress is on its node's network, so the question is asked from there. */
async function askCluster(url: URL, options: Options): Promise<void> {
  const [{ requireCluster }, { baseDirs }, { nodesOf }, { inNetns }, { addonPorts }, { spawnSync }] =
    await Promise.all([
      import('../cluster/status.ts'),
      import('../cluster/state.ts'),
      import('../cluster/config.ts'),
      import('../cluster/sockets.ts'),
      import('../cluster/addons.ts'),
      import('node:child_process'),
    ]);
  const { config } = await requireCluster(options.name, baseDirs(process.env, process.getuid?.() ?? 0));
  const [server] = nodesOf(config);
  if (server === undefined) return;
  const address = formatHostPort(server.address, addonPorts.ingressHealth);
  const { request, client, header } = options;
  const asked = ['explain', 'url', url.href, '-X', request, '--client', client, '--address', address];
  const headers = header.flatMap((line) => ['-H', line]);
  const { status } = inNetns(server.netns, () =>
    spawnSync(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...asked, ...headers], {
      stdio: 'inherit',
    }),
  );
  process.exitCode = status ?? 1;
}

/** Compiles the routes that an ingress would have, and explains by them. */
async function workOut(kubeconfig: string, url: URL, options: Options): Promise<void> {
  const [{ loadView }, { compileRoutes }, { explainRequest }, { loadNginxReader }, { connectAdmin }] =
    await Promise.all([
      import('../l7/controller/listed-view.ts'),
      import('../l7/routes/compile.ts'),
      import('../l7/routes/explain.ts'),
      import('../l7/routes/nginx-reader.ts'),
      import('./connect.ts'),
    ]);
  const client = await connectAdmin(kubeconfig);
  try {
    const view = await loadView(client, { allConfigMaps: options.nginxAnnotations });
    const request: ExplainRequest = {
      method: options.request,
      url,
      clientAddress: options.client,
      headers: options.header.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()] as const;
      }),
    };
    const compiled = compileRoutes(view, options.ingressClass.split(','), undefined, {
      nginx: await loadNginxReader(options),
      controllerName: options.controllerName,
    });
    process.stdout.write(explainRequest(compiled, request, undefined));
  } finally {
    client.close();
  }
}
