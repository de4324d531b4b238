import { read } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { tidyUpAfterStart } from './after-start.ts';

/** A subcommand: its file is loaded only when it runs, or for the whole help. */
type Entry = {
  load(): Promise<Command>;
  /** The code that the command will need at once; loaded while a start waits at its gate. */
  preload?(): Promise<unknown>;
};

const entries: Readonly<Record<string, Entry>> = {
  up: { load: async () => (await import('./up.ts')).upCommand() },
  down: { load: async () => (await import('./down.ts')).downCommand() },
  list: { load: async () => (await import('./list.ts')).listCommand() },
  status: { load: async () => (await import('./status.ts')).statusCommand() },
  image: { load: async () => (await import('./image.ts')).imageCommand() },
  logs: { load: async () => (await import('./logs.ts')).logsCommand() },
  version: { load: async () => (await import('./version.ts')).versionCommand() },
  apiserver: { load: async () => (await import('./apiserver.ts')).apiserverCommand() },
  controllers: { load: async () => (await import('./controllers.ts')).controllersCommand() },
  node: {
    load: async () => (await import('./node.ts')).nodeCommand(),
    preload: async () =>
      Promise.all([
        ...clientCode(),
        import('../kubelet/run.ts'),
        import('../kubelet/server.ts'),
        import('../kubelet/static-pods.ts'),
        import('../l4/run.ts'),
        import('../cluster/relay.ts'),
      ]),
  },
  dns: {
    load: async () => (await import('./dns.ts')).dnsCommand(),
    preload: async () => Promise.all([...clientCode(), import('../dns/run.ts'), import('../dns/forward.ts')]),
  },
  ingress: {
    load: async () => (await import('./ingress.ts')).ingressCommand(),
    preload: async () =>
      Promise.all([...clientCode(), import('../l7/controller/run.ts'), import('../l7/controller/config.ts')]),
  },
  'ingress-worker': {
    load: async () => (await import('./ingress-worker.ts')).ingressWorkerCommand(),
  },
  proxy: { load: async () => (await import('./proxy.ts')).proxyCommand() },
  'proxy-relay': { load: async () => (await import('./proxy-relay.ts')).proxyRelayCommand() },
  explain: { load: async () => (await import('./explain.ts')).explainCommand() },
  migrate: { load: async () => (await import('./migrate.ts')).migrateCommand() },
  server: {
    load: async () => (await import('./server.ts')).serverCommand(),
    preload: async () => (await import('./server.ts')).loadServer(),
  },
  supervisor: { load: async () => (await import('./supervisor.ts')).supervisorCommand() },
};

/** What every component loads that talks to an API server. */
function clientCode(): readonly Promise<unknown>[] {
  return [import('../base/log.ts'), import('../client/kubeconfig.ts'), import('../client/http.ts')];
}

const examples = `
Examples:
  fairlead up                                    a cluster "dev" with one node, then: kubectl get nodes
  fairlead up --agents 3 -p 8080:80@loadbalancer four nodes; port 80 of the cluster at http://localhost:8080
  fairlead status                                what runs, and whether it is well
  fairlead image import caddy.tar                images without a registry
  fairlead logs ingress -f                       what a component says
  fairlead down                                  removes everything again
  fairlead ingress --kubeconfig FILE             one component, against any Kubernetes cluster

\`fairlead COMMAND --help\` tells more about each command.
`;

async function program(name: string | undefined): Promise<Command> {
  const root = new Command('fairlead')
    .description('Kubernetes Service, cluster DNS and Ingress, and a cluster around them from one command')
    .version('0.1.0', '-V, --version', 'print the version of this program')
    .addHelpText('after', examples)
    .configureHelp({ sortSubcommands: false })
    .showHelpAfterError('(add --help for what is possible)')
    .enablePositionalOptions();
  const wanted = name === undefined ? undefined : entries[name];
  const loads = wanted === undefined ? Object.values(entries) : [wanted];
  for (const command of await Promise.all(loads.map(async (entry) => entry.load()))) {
    command.copyInheritedSettings(root);
    const hidden = internal.has(command.name());
    root.addCommand(command, { hidden });
  }
  return root;
}

/** Started by other commands only. */
const internal: ReadonlySet<string> = new Set(['server', 'supervisor', 'ingress-worker', 'proxy-relay']);

/**
 * A component that is started while the cluster's keys are still being made loads its code and then waits here for the
 * supervisor's word (or its end).
 */
async function passGate(entry: Entry | undefined): Promise<void> {
  const fd = process.env['FAIRLEAD_GATE_FD'];
  if (fd === undefined) return;
  delete process.env['FAIRLEAD_GATE_FD'];
  const opened = new Promise<number>((resolve) => {
    read(Number(fd), Buffer.alloc(1), 0, 1, null, (_error, count) => resolve(count));
  });
  await entry?.preload?.();
  if ((await opened) === 0) process.exit(0); // the supervisor is gone before we began
}

async function main(): Promise<void> {
  const name = process.argv[2];
  await passGate(name === undefined ? undefined : entries[name]);
  tidyUpAfterStart();
  const root = await program(name);
  if (process.argv.length <= 2) {
    root.outputHelp();
    return;
  }
  try {
    await root.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) throw error;
    const { renderFailure } = await import('../cli/failure.ts');
    process.stderr.write(renderFailure(error));
    process.exitCode = 1;
  }
}

if (import.meta.main) await main(); // not when scripts/warm.ts loads it
