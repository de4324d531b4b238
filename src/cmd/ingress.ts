import { Command, InvalidArgumentError, Option } from 'commander';
import type { Logger } from '../base/log.ts';
import type { IngressConfig } from '../l7/controller/config.ts';
import type { Engine } from '../l7/controller/engine.ts';
import type { IngressDeps } from '../l7/controller/run.ts';
import { checkOptions } from './ingress-option-rules.ts';

type Place = { readonly host: string; readonly port: number };

type IngressOptions = {
  readonly kubeconfig?: string;
  readonly http: readonly Place[];
  readonly https: readonly Place[];
  readonly httpFd: readonly number[];
  readonly httpsFd: readonly number[];
  readonly ingressClass: readonly string[];
  readonly nginxAnnotations: boolean;
  readonly nginxAllowedHeaders: readonly string[];
  readonly controllerName: string;
  readonly createIngressClass: boolean;
  readonly publishService: string;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly healthAddress: Place | undefined;
  readonly trustedProxies: readonly string[];
  readonly proxyProtocol: boolean;
  readonly accessLog: string | boolean;
  readonly accessLogSample: number;
  readonly trustedFields: 'x' | 'rfc7239';
  readonly forwarded: 'x' | 'rfc7239' | 'both';
  readonly traceContext: number | boolean;
  readonly requestId: boolean;
  readonly transport: 'auto' | 'uring' | 'net';
  readonly workers: number | 'auto';
  readonly lameDuck: number;
  readonly drainTimeout: number;
  readonly config?: string;
  readonly lease?: Named | undefined;
};

type Named = { readonly namespace: string; readonly name: string };

const anyHost = '0.0.0.0';

/** `fairlead ingress`: the Ingress controller and its HTTP engine, for a cluster of ours or any other. */
export function ingressCommand(): Command {
  const command = new Command('ingress')
    .description('run the Ingress controller and its HTTP proxy')
    .option('--kubeconfig <file>', 'how to reach the API server; without it that of the Pod it runs in');
  return classOptions(requestOptions(listenOptions(command)))
    .option('--create-ingress-class', 'create those IngressClasses if they do not exist', false)
    .option(
      '--publish-service <namespace/name>',
      'Service whose addresses are written to the status of each Ingress; "" for none',
      'kube-system/ingress',
    )
    .option(
      '--config <file>',
      'serve the routes of that YAML file, without any cluster; it is followed when it changes',
    )
    .option(
      '--lease <namespace/name>',
      'of several processes only the holder of this Lease writes statuses and Events',
      (text) => parseNamed('--lease', text),
    )
    .option(
      '--lame-duck <seconds>',
      'after SIGTERM still take connections for so long while /readyz fails',
      secondsUpTo(3600),
      0,
    )
    .option(
      '--drain-timeout <seconds>',
      'then requests and tunnels under way have so long to end before they are cut',
      secondsUpTo(86_400),
      30,
    )
    .option('--ca-cert <file>', 'certificate of the CA that signs for hosts without a Secret')
    .option('--ca-key <file>', 'its key')
    .option(
      '--health-address <addr:port>',
      'where /healthz, /readyz, /metrics and /debug/routes are served; "" for nowhere',
      parsePlace,
      { host: anyHost, port: 9113 },
    )
    .addOption(
      new Option(
        '--transport <name>',
        'how sockets are driven: by io_uring, by libuv, or by io_uring where the kernel has it',
      )
        .choices(['auto', 'uring', 'net'])
        .default('auto'),
    )
    .option(
      '--workers <n|auto>',
      'processes that serve; auto: one for each processor. More than one share each address by SO_REUSEPORT',
      parseWorkers,
      1,
    )
    .action(async (options: Partial<IngressOptions>, self: Command) => {
      checkOptions(self);
      await run({
        http: [{ host: anyHost, port: 8000 }],
        https: [{ host: anyHost, port: 8443 }],
        httpFd: [],
        httpsFd: [],
        ...options,
      } as IngressOptions);
    });
}

/** What requests are told of, and where they are written down. */
function requestOptions(command: Command): Command {
  return command
    .option(
      '--trusted-proxies <cidr,…|n>',
      'proxies in front whose X-Forwarded-… and Forwarded are believed: their ranges, or how many there are',
      parseList,
      [],
    )
    .addOption(
      new Option('--trusted-fields <style>', 'believe those proxies by their X-Forwarded-…, or by Forwarded')
        .choices(['x', 'rfc7239'])
        .default('x'),
    )
    .option('--proxy-protocol', 'connections of --trusted-proxies begin with a PROXY header, v1 or v2', false)
    .option('--access-log [file]', 'log one JSON line a request to that file, or to standard output', false)
    .option(
      '--access-log-sample <share>',
      'log that share of requests, 0 to 1; failures (5xx, 499) and sampled traces are always logged',
      parseShare,
      1,
    )
    .addOption(
      new Option(
        '--forwarded <style>',
        'tell endpoints of the client by X-Forwarded-…, by Forwarded, or by both',
      )
        .choices(['x', 'rfc7239', 'both'])
        .default('x'),
    )
    .option(
      '--trace-context [share]',
      'begin a W3C trace for requests without one; that share of them, 0 to 1, is marked as sampled (default: 1)',
      parseTraceShare,
      false,
    )
    .option('--request-id', 'give each request an X-Request-ID; one of a trusted proxy is kept', false);
}

/** Where clients are served. */
function listenOptions(command: Command): Command {
  return command
    .option(
      '--http <addr:port>',
      'serve HTTP there; "" for nowhere (repeatable) (default: 0.0.0.0:8000)',
      addPlace,
    )
    .option(
      '--https <addr:port>',
      'serve HTTPS there; "" for nowhere (repeatable) (default: 0.0.0.0:8443)',
      addPlace,
    )
    .option('--http-fd <n,…>', 'inherited listening sockets for HTTP (repeatable)', addDescriptors)
    .option('--https-fd <n,…>', 'inherited listening sockets for HTTPS (repeatable)', addDescriptors);
}

/** Which Ingresses are ours, and how they are read. */
function classOptions(command: Command): Command {
  return command
    .option('--ingress-class <name,…>', 'our IngressClasses, the default one first', parseList, ['fairlead'])
    .option(
      '--controller-name <name>',
      'what spec.controller of our IngressClasses says; one for each installation that must not share classes',
      'fairlead.dev/ingress',
    )
    .option(
      '--nginx-annotations',
      'honour the annotations of ingress-nginx, and serve its IngressClasses that have one of those names',
      false,
    )
    .option(
      '--nginx-allowed-headers <name,…>',
      'with it: headers that custom-headers may set, as global-allowed-response-headers of ingress-nginx',
      parseList,
      [],
    );
}

async function run(options: IngressOptions): Promise<void> {
  const [
    { createLogger },
    { ingressDefaults },
    { runIngress, runStaticIngress },
    { chooseTransport },
    { systemClock },
    { availableParallelism, hostname },
  ] = await Promise.all([
    import('../base/log.ts'),
    import('../l7/controller/config.ts'),
    import('../l7/controller/run.ts'),
    import('../l7/transport/transport-choice.ts'),
    import('../base/clock.ts'),
    import('node:os'),
  ]);
  const log = createLogger('ingress');
  const workers = options.workers === 'auto' ? availableParallelism() : options.workers;
  const deps: IngressDeps =
    workers === 1
      ? { clock: systemClock, transport: await chooseTransport(options.transport, log) }
      : { clock: systemClock, engine: await workerPools(workers, options.transport, log) };
  const address = (place: Place) => ({ kind: 'address' as const, ...place });
  const descriptor = (fd: number) => ({ kind: 'fd' as const, fd });
  const config = Object.freeze({
    ...ingressDefaults,
    http: [...options.http.map(address), ...options.httpFd.map(descriptor)],
    https: [...options.https.map(address), ...options.httpsFd.map(descriptor)],
    ingressClasses: options.ingressClass,
    nginxAnnotations: options.nginxAnnotations,
    nginxAllowedHeaders: options.nginxAllowedHeaders,
    controllerName: options.controllerName,
    createIngressClasses: options.createIngressClass,
    publishService: parseNamed('--publish-service', options.publishService),
    leaderElection:
      options.lease === undefined
        ? undefined
        : { ...options.lease, identity: `${hostname()}_${process.pid}` },
    authority: await readAuthority(options.caCert, options.caKey),
    healthAddress: options.healthAddress,
    trustedProxies: options.trustedProxies,
    proxyProtocol: options.proxyProtocol,
    ...requestConfig(options),
    lameDuckMs: options.lameDuck * 1000,
    drainTimeoutMs: options.drainTimeout * 1000,
  });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  if (options.config !== undefined) {
    await runStaticIngress(config, options.config, log, stop.signal, deps);
    return;
  }
  const [{ loadClientConfig }, { createApiClient }] = await Promise.all([
    import('../client/kubeconfig.ts'),
    import('../client/http.ts'),
  ]);
  const client = createApiClient(await loadClientConfig(options.kubeconfig), {
    userAgent: 'fairlead-ingress',
  });
  try {
    await runIngress(config, client, log, stop.signal, deps);
  } finally {
    client.close();
  }
}

async function workerPools(
  workers: number,
  transport: IngressOptions['transport'],
  log: Logger,
): Promise<(config: IngressConfig) => Engine> {
  const [{ WorkerPool }, { systemClock }] = await Promise.all([
    import('../l7/controller/worker-pool.ts'),
    import('../base/clock.ts'),
  ]);
  const command = [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'ingress-worker'] as const;
  return (config) => new WorkerPool(config, { workers, transport, command: [...command] }, log, systemClock);
}

function parseWorkers(text: string): number | 'auto' {
  const count = Number(text);
  if (text === 'auto') return text;
  if (!/^\d+$/.test(text) || count < 1 || count > 256) {
    throw new InvalidArgumentError('give a number from 1 to 256, or auto.');
  }
  return count;
}

function requestConfig({
  trustedFields,
  forwarded,
  accessLog,
  accessLogSample,
  traceContext,
  requestId,
}: IngressOptions) {
  return {
    trustedFields,
    forwarded,
    accessLog:
      accessLog === false
        ? undefined
        : { path: accessLog === true ? '-' : String(accessLog), share: accessLogSample },
    marks: {
      startsTraces: traceContext !== false,
      sampledShare: typeof traceContext === 'number' ? traceContext : 1,
      setsRequestId: requestId,
    },
  };
}

async function readAuthority(certificate: string | undefined, key: string | undefined) {
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new InvalidArgumentError('--ca-cert and --ca-key go together.');
  }
  const { readFile } = await import('node:fs/promises');
  return { certificate: await readFile(certificate, 'utf8'), key: await readFile(key, 'utf8') };
}

function parseNamed(option: string, text: string): Named | undefined {
  if (text === '') return undefined;
  const [namespace, name, rest] = text.split('/');
  if (namespace === undefined || name === undefined || name === '' || rest !== undefined) {
    throw new InvalidArgumentError(`${option}: give it as NAMESPACE/NAME.`);
  }
  return { namespace, name };
}

function parseTraceShare(text: string): number | boolean {
  return parseShare(text);
}

function parseShare(text: string): number {
  const share = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || share > 1)
    throw new InvalidArgumentError('give a share from 0 to 1, such as 0.1.');
  return share;
}

function secondsUpTo(most: number): (text: string) => number {
  return (text) => {
    const seconds = Number(text);
    if (!/^\d+$/.test(text) || seconds > most) {
      throw new InvalidArgumentError(`give whole seconds, 0 to ${most}.`);
    }
    return seconds;
  };
}

function addPlace(text: string, before: readonly Place[] = []): readonly Place[] {
  const place = parsePlace(text);
  return place === undefined ? before : [...before, place];
}

function parsePlace(text: string): Place | undefined {
  if (text === '') return undefined;
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  if (colon === -1 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('give it as ADDR:PORT, such as 0.0.0.0:8000 or [::]:8000.');
  }
  const host = text.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host: host === '' ? anyHost : host, port };
}

function addDescriptors(text: string, before: readonly number[] = []): readonly number[] {
  return [
    ...before,
    ...parseList(text).map((item) => {
      const fd = Number(item);
      if (!Number.isInteger(fd) || fd < 3) throw new InvalidArgumentError('descriptors are numbers from 3.');
      return fd;
    }),
  ];
}

function parseList(text: string): readonly string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
