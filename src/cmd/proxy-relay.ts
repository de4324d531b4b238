import { Command } from 'commander';

/** `fairlead proxy-relay`: carries the TCP connections of a service proxy in userspace mode, which starts it. */
export function proxyRelayCommand(): Command {
  return new Command('proxy-relay')
    .description('carry TCP connections of a service proxy in userspace mode (started by it)')
    .action(async () => {
      const { runRelayProcess } = await import('../l4/userspace/relay-process.ts');
      runRelayProcess();
    });
}

/** What starts it from this process. */
export function relayCommandLine(): readonly string[] {
  return [process.execPath, ...process.execArgv, process.argv[1] ?? '', 'proxy-relay'];
}
