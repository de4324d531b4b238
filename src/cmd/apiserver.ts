import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import {
  type ApiServerConfig,
  type ApiServerPki,
  apiServerDefaults,
  type EtcdPlace,
  type ListenAddress,
  parseListenAddress,
  parsePortRange,
} from '../apiserver/config.ts';
import type { Json } from '../api/object.ts';
import { cidrSize, familyOf, formatCidr, parseCidr } from '../base/ip.ts';
import { etcdPrefixDefault, parseEtcdEndpoints } from '../store/etcd-endpoints.ts';

type Options = {
  readonly dataDir: string;
  readonly listen?: readonly ListenAddress[];
  readonly listenFd?: readonly number[];
  readonly advertiseAddress: string;
  readonly serviceCidr: readonly string[];
  readonly clusterDomain: string;
  readonly pkiDir: string;
  readonly nodePortRange: ApiServerConfig['nodePortRange'];
  readonly store?: 'sqlite' | 'memory' | 'etcd';
  readonly etcdServers?: EtcdPlace['endpoints'];
  readonly etcdCafile?: string;
  readonly etcdCertfile?: string;
  readonly etcdKeyfile?: string;
  readonly etcdPrefix: string;
} & AuditOptions;

type AuditOptions = {
  readonly auditPolicyFile?: string;
  readonly auditLogPath?: string;
  readonly auditLogMaxsize: number;
  readonly auditLogMaxbackup: number;
};

/** `fairlead apiserver`: the API server on its own. */
export function apiserverCommand(): Command {
  return new Command('apiserver')
    .description('serve the Kubernetes API over TLS')
    .requiredOption('--data-dir <dir>', 'where the objects are kept')
    .requiredOption(
      '--pki-dir <dir>',
      'where ca.crt, apiserver.crt, apiserver.key, sa.key and their like lie',
    )
    .option('--listen <address:port>', 'listen here; may be given several times', appendAddress)
    .option('--listen-fd <fd>', 'serve this inherited listening socket; may be given several times', appendFd)
    .option(
      '--advertise-address <address>',
      'the address at which Pods reach this server',
      apiServerDefaults.advertiseAddress,
    )
    .option(
      '--service-cidr <range[,range]>',
      'addresses of Services: one range, or one of each family for dual stack; the first is of the default family, that of --advertise-address',
      readServiceCidrs,
      apiServerDefaults.serviceCidrs,
    )
    .option('--cluster-domain <domain>', 'domain of the cluster', apiServerDefaults.clusterDomain)
    .option('--node-port-range <from-to>', 'node ports', readPortRange, apiServerDefaults.nodePortRange)
    .addOption(
      new Option(
        '--store <kind>',
        'where objects are kept (default: sqlite, or etcd where --etcd-servers is given)',
      ).choices(['sqlite', 'memory', 'etcd']),
    )
    .option(
      '--etcd-servers <url,…>',
      'members of the etcd that keeps the objects, such as https://10.0.0.1:2379; other API servers may share it',
      readEtcdServers,
    )
    .option('--etcd-cafile <file>', "the authority that signed the members' certificates")
    .option('--etcd-certfile <file>', 'our certificate for etcd')
    .option('--etcd-keyfile <file>', 'its key')
    .option('--etcd-prefix <path>', 'where the objects lie in etcd', readEtcdPrefix, etcdPrefixDefault)
    .option(
      '--audit-policy-file <file>',
      'which requests are written to the audit log, and how much of them: a Policy of audit.k8s.io/v1',
    )
    .option('--audit-log-path <file>', 'the audit log, a JSON document a line; - is standard output')
    .option(
      '--audit-log-maxsize <MB>',
      'an audit log of this size is put aside, named with the time; 0: never',
      readCount,
      100,
    )
    .option('--audit-log-maxbackup <count>', 'so many that were put aside are kept; 0: all', readCount, 10)
    .action(async (options: Options) => {
      const config: ApiServerConfig = Object.freeze({
        dataDir: options.dataDir,
        store: await readStore(options),
        listen: options.listen ?? (options.listenFd === undefined ? apiServerDefaults.listen : []),
        listenFds: options.listenFd ?? [],
        advertiseAddress: options.advertiseAddress,
        serviceCidrs: readPrimary(options),
        clusterDomain: options.clusterDomain,
        nodePortRange: options.nodePortRange,
        pki: await readApiServerPki(options.pkiDir),
        ...(await readAudit(options)),
        limits: apiServerDefaults.limits,
      });
      await run(config);
    });
}

async function run(config: ApiServerConfig): Promise<void> {
  const [{ runApiServer }, { createLogger }] = await Promise.all([
    import('../apiserver/run.ts'),
    import('../base/log.ts'),
  ]);
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  const log = createLogger('apiserver');
  await runApiServer(config, log, stop.signal, (addresses) => log.info('ready', { addresses }));
}

/** Reads the files that `fairlead up` makes under `pki/`. */
export async function readApiServerPki(folder: string): Promise<ApiServerPki> {
  const read = (file: string): Promise<string> => readFile(join(folder, file), 'utf8');
  const [caCert, cert, key, kubeletClientCert, kubeletClientKey, serviceAccountKey, serviceAccountPublicKey] =
    await Promise.all([
      read('ca.crt'),
      read('apiserver.crt'),
      read('apiserver.key'),
      read('apiserver-kubelet-client.crt'),
      read('apiserver-kubelet-client.key'),
      read('sa.key'),
      read('sa.pub'),
    ]);
  return {
    caCert,
    cert,
    key,
    kubeletClientCert,
    kubeletClientKey,
    serviceAccountKey,
    serviceAccountPublicKey,
  };
}

async function readStore(options: Options): Promise<ApiServerConfig['store']> {
  const { store, etcdServers, etcdCafile, etcdCertfile, etcdKeyfile, etcdPrefix } = options;
  if (etcdServers === undefined) {
    if (store === 'etcd') throw new InvalidArgumentError('--store etcd needs --etcd-servers.');
    return store ?? 'sqlite';
  }
  if (store !== undefined && store !== 'etcd') {
    throw new InvalidArgumentError(`--etcd-servers does not go with --store ${store}.`);
  }
  if ((etcdCertfile === undefined) !== (etcdKeyfile === undefined)) {
    throw new InvalidArgumentError('--etcd-certfile and --etcd-keyfile go together.');
  }
  const read = async (file: string | undefined): Promise<string | undefined> =>
    file === undefined ? undefined : readFile(file, 'utf8');
  const [ca, cert, key] = await Promise.all([read(etcdCafile), read(etcdCertfile), read(etcdKeyfile)]);
  return { endpoints: etcdServers, tls: { ca, cert, key }, prefix: etcdPrefix };
}

/** Throws what commander tells the user. */
export async function readAudit(options: AuditOptions): Promise<Pick<ApiServerConfig, 'audit'>> {
  const { auditPolicyFile: file, auditLogPath: path, auditLogMaxsize, auditLogMaxbackup } = options;
  if (file === undefined && path === undefined) return {};
  if (file === undefined || path === undefined) {
    throw new InvalidArgumentError('--audit-policy-file and --audit-log-path go together.');
  }
  const [{ parse }, { parseAuditPolicy }] = await Promise.all([
    import('yaml'),
    import('../apiserver/audit/policy.ts'),
  ]);
  const policy = parseAuditPolicy(parse(await readFile(file, 'utf8')) as Json);
  if ('rules' in policy) {
    return {
      audit: { path, policy, bytesMax: auditLogMaxsize * 1024 * 1024, backupsMax: auditLogMaxbackup },
    };
  }
  const problems = policy.map(({ field, message }) => `  ${field}: ${message}`);
  throw new InvalidArgumentError([`--audit-policy-file ${file}:`, ...problems].join('\n'));
}

function readCount(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('use a number from 0 to 999999');
  return Number(text);
}

function readEtcdServers(text: string): EtcdPlace['endpoints'] {
  const endpoints = parseEtcdEndpoints(text);
  if (endpoints === undefined) {
    throw new InvalidArgumentError('use URLs such as http://127.0.0.1:2379, with commas between them');
  }
  return endpoints;
}

function readEtcdPrefix(text: string): string {
  if (!/^\/[\w./-]*$/.test(text)) throw new InvalidArgumentError('use a path such as /fairlead');
  return text.endsWith('/') ? text : `${text}/`;
}

function appendAddress(
  text: string,
  earlier: readonly ListenAddress[] | undefined,
): readonly ListenAddress[] {
  const address = parseListenAddress(text);
  if (address === undefined) throw new InvalidArgumentError('use ADDRESS:PORT, such as 127.0.0.1:6443');
  return [...(earlier ?? []), address];
}

function appendFd(text: string, earlier: readonly number[] | undefined): readonly number[] {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('use the number of an open file descriptor');
  return [...(earlier ?? []), Number(text)];
}

/** default/kubernetes, one for another Service, and the first and the last, which nobody gets. */
const addressesMin = 4n;
/** Wider ranges are a slip of the pen. Kubernetes, too, ends at /64. */
const prefixBitsMin = { 4: 8, 6: 64 } as const;

/** One range of Service addresses, or one of each family. Throws what commander tells the user. */
export function readServiceCidrs(text: string): readonly string[] {
  const ranges = text.split(',').map((part) => {
    const range = parseCidr(part.trim());
    if (range === undefined) {
      throw new InvalidArgumentError('use ranges such as 10.43.0.0/16 or 10.43.0.0/16,fd43::/112');
    }
    const widest = prefixBitsMin[range.family];
    if (range.prefixBits < widest || cidrSize(range) < addressesMin) {
      throw new InvalidArgumentError(
        `${formatCidr(range)} must have a prefix from /${widest} to /${range.family === 4 ? 30 : 126}`,
      );
    }
    return range;
  });
  if (ranges.length > 2) throw new InvalidArgumentError('give at most two ranges');
  if (ranges[0]?.family === ranges[1]?.family) {
    throw new InvalidArgumentError('the two ranges must be of different IP families');
  }
  return ranges.map(formatCidr);
}

/** default/kubernetes leads from an address of the first range to the advertised one: they must be of one family. */
function readPrimary({ serviceCidr, advertiseAddress }: Options): readonly string[] {
  const family = parseCidr(serviceCidr[0] ?? '')?.family;
  if (familyOf(advertiseAddress) === family) return serviceCidr;
  throw new InvalidArgumentError(
    `--advertise-address ${advertiseAddress} must be of the family of the first --service-cidr, IPv${family}.`,
  );
}

function readPortRange(text: string): ApiServerConfig['nodePortRange'] {
  const range = parsePortRange(text);
  if (range === undefined) throw new InvalidArgumentError('use two ports, such as 30000-32767');
  return range;
}
