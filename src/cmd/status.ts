import { Command } from 'commander';
import { renderAge, renderMebibytes, renderTable } from '../cli/table.ts';
import { formatHostPort } from '../base/ip.ts';
import { clusterDomain } from '../cluster/config.ts';
import type { ClusterStatus } from '../cluster/status.ts';
import { nameOption } from './up.ts';

export function statusCommand(): Command {
  return new Command('status')
    .description('show how a cluster is; exit code 1 when something is not well')
    .addOption(nameOption())
    .action(async ({ name }: { name: string }) => {
      const [{ clusterStatus, requireCluster }, { baseDirs }, { connectAdmin }] = await Promise.all([
        import('../cluster/status.ts'),
        import('../cluster/state.ts'),
        import('./connect.ts'),
      ]);
      const state = await requireCluster(name, baseDirs(process.env, process.getuid?.() ?? 0));
      const status = await clusterStatus(state, connectAdmin);
      process.stdout.write(renderStatus(status, Date.now()));
      if (status.problems.length > 0) process.exitCode = 1;
    });
}

function renderStatus(status: ClusterStatus, nowMs: number): string {
  const { config } = status.state;
  const processes = status.processes.map(({ name, pid, startedAtMs, restarts, residentBytes }) => [
    name,
    pid === undefined ? 'Stopped' : 'Running',
    pid === undefined ? '-' : String(pid),
    pid === undefined ? '-' : renderAge(nowMs - startedAtMs),
    String(restarts),
    pid === undefined ? '-' : renderMebibytes(residentBytes),
  ]);
  const nodes = status.nodes.map(({ name, ready, addresses, version }) => [
    name,
    ready ? 'Ready' : 'NotReady',
    addresses.join(', '),
    version === '' ? '-' : version,
  ]);
  const ports = config.published.map(({ hostAddresses, hostPort, port }) => [
    hostAddresses.map((address) => formatHostPort(address, hostPort)).join(' '),
    String(port),
    port === 80 ? 'ingress' : port === 443 ? 'ingress (TLS)' : 'LoadBalancer Services',
  ]);
  const total = status.processes.reduce((sum, { proportionalBytes }) => sum + proportionalBytes, 0);
  return [
    `Cluster ${config.name}: ${status.problems.length === 0 ? 'well' : 'NOT well'}\n\n`,
    renderTable(['NODE', 'STATUS', 'ADDRESS', 'VERSION'], nodes),
    '\n',
    renderTable(['PROCESS', 'STATUS', 'PID', 'UP', 'RESTARTS', 'MEMORY'], processes),
    `\n${renderMebibytes(total)} in all, what processes share counted once\n\n`,
    ports.length === 0 ? '' : `${renderTable(['HOST', 'PORT', 'LEADS TO'], ports)}\n`,
    config.hostDns === undefined
      ? ''
      : `Names       of ${clusterDomain} on this machine, asked at ${config.hostDns.address} port ${config.hostDns.port}\n`,
    `API server  https://127.0.0.1:${config.apiPort}\n`,
    `Kubeconfig  ${config.dataDir}/kubeconfig.yaml\n`,
    `Logs        ${config.dataDir}/logs\n`,
    ...status.problems.map((problem) => `\nProblem: ${problem}`),
    status.problems.length === 0 ? '' : '\n',
  ].join('');
}
