import { Command, InvalidArgumentError, Option } from 'commander';
import {
  agentsMax,
  clusterNameProblem,
  dataDirProblem,
  type EgressMode,
  type Parsed,
  parseIngressClasses,
  parsePublish,
  type PublishedPort,
} from '../cluster/config.ts';
import { type IpFamilies, ipFamilies } from '../cluster/ranges.ts';

type UpOptions = {
  readonly name: string;
  readonly agents?: number;
  readonly ipFamily?: IpFamilies;
  readonly dualStack?: boolean;
  readonly publish: readonly PublishedPort[];
  readonly ingressClass?: readonly string[];
  readonly dataDir?: string;
  readonly egress?: EgressMode;
  readonly resolveOnHost?: boolean;
  readonly nodeGraceSeconds?: number;
  readonly merge: boolean;
  readonly foreground: boolean;
};

const examples = `
Examples:
  fairlead up                                      one node; ports 80, 443 and 8080 of this machine if free
  fairlead up --agents 3                           four nodes
  fairlead up --dual-stack                         nodes, Pods and Services with IPv4 and IPv6 addresses
  fairlead up -p 8081:80@loadbalancer              the ingress at http://localhost:8081
  fairlead up -p 0.0.0.0:80:80@loadbalancer        reachable from other machines
  fairlead up --ingress-class traefik              serves Ingresses of class traefik
  fairlead up --resolve-on-host                    curl http://caddy.default.svc.cluster.local:8080/ from this machine

Images: mirrors and private authorities of registries are described in DATA-DIR/registries/HOST/hosts.toml, in containerd's form (HOST
is HOST:PORT where a port is in the image's name, docker.io for Docker Hub). They are read at each pull.

A second \`fairlead up\` does no harm: it finishes what is not there yet. Options that are left out stay as they were.
`;

/** Turns a parser's error into commander's. */
export function argument<T>(parsed: Parsed<T>): T {
  if (!parsed.ok) throw new InvalidArgumentError(parsed.error);
  return parsed.value;
}

export function clusterName(text: string): string {
  const problem = clusterNameProblem(text);
  if (problem !== undefined) throw new InvalidArgumentError(problem);
  return text;
}

function agentCount(text: string): number {
  const count = Number(text);
  if (!/^\d{1,3}$/.test(text) || count > agentsMax) {
    throw new InvalidArgumentError(`the number of agents is from 0 to ${agentsMax}`);
  }
  return count;
}

/** The least leaves room for a few renewals of the node's Lease. */
export function graceSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d{1,5}$/.test(text) || seconds < 2) throw new InvalidArgumentError('use seconds, 2 or more');
  return seconds;
}

function dataDirectory(text: string): string {
  const problem = dataDirProblem(text);
  if (problem !== undefined) throw new InvalidArgumentError(problem);
  return text;
}

export function nameOption(): Option {
  return new Option('-n, --name <name>', 'name of the cluster').default('dev').argParser(clusterName);
}

export function upCommand(): Command {
  return new Command('up')
    .description('start a cluster on this machine, or finish starting it')
    .addOption(nameOption())
    .option(
      '--agents <count>',
      'nodes beside server-0, each with its own namespace and containerd',
      agentCount,
    )
    .addOption(
      new Option(
        '--ip-family <families>',
        'addresses of nodes, Pods and Services, for good: ipv4, ipv6 or dual, which is IPv4 first and IPv6 beside it (default: ipv4)',
      ).choices(ipFamilies),
    )
    .addOption(new Option('--dual-stack', 'the same as --ip-family dual').conflicts('ipFamily'))
    .option(
      '-p, --publish <[address:]hostport:port[@loadbalancer]>',
      'lead a port of this machine to a port of the load balancer; may be repeated (default: 80:80, 443:443 and 8080:8080 where free)',
      (text: string, before: readonly PublishedPort[]) => [...before, argument(parsePublish(text))],
      [] as readonly PublishedPort[],
    )
    .option(
      '--ingress-class <names>',
      'classes that the ingress serves, with commas; the first is the default class (default: fairlead)',
      (text: string) => argument(parseIngressClasses(text)),
    )
    .option(
      '--data-dir <dir>',
      'where the cluster keeps its data (default: that of its last start, else /var/lib/fairlead/NAME)',
      dataDirectory,
    )
    .addOption(
      new Option(
        '--egress <mode>',
        'auto: Pods reach the world by TCP and UDP and resolve its names, and images are pulled, through this machine; none: no way out',
      ).choices(['auto', 'none']),
    )
    .option(
      '--resolve-on-host',
      "programs of this machine find the cluster's names: through systemd-resolved, or the line to add is printed; a name " +
        'leads to the published ports of its LoadBalancer Service',
    )
    .option('--no-resolve-on-host', 'they no longer do, although they did at the last start')
    .option(
      '--node-grace-seconds <count>',
      'a node that has not been heard of for this long is NotReady (default: 50, as in Kubernetes)',
      graceSeconds,
    )
    .option('--no-merge', 'do not write a context into your kubeconfig')
    .option('--foreground', 'stay, and take the cluster down on Ctrl-C', false)
    .addHelpText('after', examples)
    .action(async (options: UpOptions) => {
      const { runUp } = await import('./run-up.ts');
      await runUp({
        name: options.name,
        agents: options.agents,
        ipFamilies: options.dualStack === true ? 'dual' : options.ipFamily,
        published: options.publish,
        ingressClasses: options.ingressClass,
        dataDir: options.dataDir,
        egress: options.egress,
        resolveOnHost: options.resolveOnHost,
        nodeGraceSeconds: options.nodeGraceSeconds,
        merge: options.merge,
        foreground: options.foreground,
      });
    });
}
