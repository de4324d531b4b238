import { hostname } from 'node:os';
import { readFile } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import { parseDurationMs } from '../api/duration.ts';
import { UserError } from '../base/user-error.ts';
import type { SigningConfig } from '../controllers/certificates/controller.ts';
import { graceSeconds } from './up.ts';

type Options = {
  readonly kubeconfig?: string;
  readonly clusterCidr: string;
  readonly leaderElect: boolean;
  readonly controllers: string;
  readonly nodeMonitorGraceSeconds: number;
  readonly clusterSigningCertFile?: string;
  readonly clusterSigningKeyFile?: string;
  readonly clusterSigningDuration: number;
  readonly horizontalPodAutoscalerSyncPeriod: number;
};

/** A year, as kube-controller-manager has it, ms. */
export const signingDurationMsDefault = 365 * 24 * 3_600_000;

/** `fairlead controllers`: the control loops and the scheduler, against any API server. */
export function controllersCommand(): Command {
  return new Command('controllers')
    .description('run the controllers and the scheduler against an API server')
    .option('--kubeconfig <file>', 'how to reach the API server (default: the service account of this Pod)')
    .option(
      '--cluster-cidr <cidrs>',
      'Pod network that nodes get their /24 from (of IPv6: /64); one of each family, separated by a comma',
      '10.42.0.0/16',
    )
    .option('--leader-elect', 'work only while holding the Lease kube-system/fairlead-controllers', false)
    .option(
      '--node-monitor-grace-seconds <count>',
      'a node that has not been heard of for this long is NotReady',
      graceSeconds,
      50,
    )
    .option(
      '--cluster-signing-cert-file <file>',
      'certificate of the authority that signs CertificateSigningRequests (default: nothing is signed)',
    )
    .option('--cluster-signing-key-file <file>', 'its key, EC P-256 in PKCS #8')
    .option(
      '--cluster-signing-duration <duration>',
      'how long such certificates are valid at most (default: 8760h)',
      duration,
      signingDurationMsDefault,
    )
    .option(
      '--horizontal-pod-autoscaler-sync-period <duration>',
      'each HorizontalPodAutoscaler asks its metrics this often (default: 15s)',
      duration,
      15_000,
    )
    .option('--controllers <names>', 'comma-separated list of controllers, or * for all', '*')
    .action(async (options: Options) => {
      await main(options);
    });
}

function duration(text: string): number {
  const ms = parseDurationMs(text);
  if (ms === undefined || ms <= 0) throw new InvalidArgumentError('use a duration such as 8760h or 15s');
  return ms;
}

/** The authority that `--cluster-signing-…` names. Rejects where its key is none that we can sign with. */
async function readSigning(options: Options): Promise<SigningConfig | undefined> {
  const { clusterSigningCertFile: certFile, clusterSigningKeyFile: keyFile } = options;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    throw new UserError('--cluster-signing-cert-file and --cluster-signing-key-file go together');
  }
  const [certificate, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  const authority = { certificate, key };
  const { loadAuthority } = await import('../base/certificates.ts');
  try {
    await loadAuthority(authority);
  } catch (cause) {
    throw new UserError(`${keyFile} is no EC P-256 key in PKCS #8`, { cause });
  }
  return { authority, durationMsMax: options.clusterSigningDuration };
}

async function main(options: Options): Promise<void> {
  const [{ createLogger }, { createApiClient }, { loadClientConfig }, { controllerNames, runControllers }] =
    await Promise.all([
      import('../base/log.ts'),
      import('../client/http.ts'),
      import('../client/kubeconfig.ts'),
      import('../controllers/run.ts'),
    ]);
  const names = options.controllers === '*' ? controllerNames : options.controllers.split(',');
  const unknown = names.filter((name) => !controllerNames.includes(name));
  if (unknown.length > 0) {
    throw new Error(`--controllers: no ${unknown.join(', ')}; there are ${controllerNames.join(', ')}`);
  }
  const clientConfig = await loadClientConfig(options.kubeconfig);
  const config = Object.freeze({
    controllers: names,
    clusterCidr: options.clusterCidr,
    certificateAuthority: clientConfig.certificateAuthority,
    signing: await readSigning(options),
    nodeMonitorGraceMs: options.nodeMonitorGraceSeconds * 1000,
    autoscalerSyncMs: options.horizontalPodAutoscalerSyncPeriod,
    leaderElect: options.leaderElect,
    identity: `${hostname()}_${process.pid}`,
  });
  const log = createLogger('controllers');
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  const client = createApiClient(clientConfig, { userAgent: 'fairlead-controllers' });
  try {
    await runControllers(config, client, log, stop.signal, {
      onReady: () => log.info('ready', { controllers: names.length, server: clientConfig.server }),
    });
  } finally {
    client.close();
  }
}
