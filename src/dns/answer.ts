import { ipToBytes, parseIp } from '../base/ip.ts';
import { shuffled } from '../base/random.ts';
import { type Addresses, addressKey, type NamedPort, type ServiceRecords } from './records.ts';
import { addressOfReverseName, isLocalAddress } from './reverse-name.ts';
import type { Hosts } from './settings.ts';
import type { DnsView } from './table.ts';
import { classIn, type Question, type RecordData, type ResourceRecord, rcodes, rrTypes } from './wire.ts';

/** The version of the specification that the zone follows (its section 2.2). */
export const schemaVersion = '1.1.0';
/** The most that records with an endpoint's address or name may be kept: nobody is led for longer to one that is gone. */
export const endpointTtlSecondsMax = 1;
/** CNAMEs that are followed from one question, inside and outside the zone together. */
export const aliasesMax = 8;

export type AnswerOptions = {
  /** The cluster's domain in lower case without final dot: "cluster.local". */
  readonly zone: string;
  /** Of every record; a client may use an endpoint that is gone for so long. */
  readonly ttlSeconds: number;
  /** Whether a question for another name may be asked of somebody else. */
  forwards(name: string): boolean;
  /** Names outside the zone are refused, unless an alias in the zone leads to them: others are asked for those by the client. */
  readonly zoneOnly: boolean;
  /** Names outside the zone that are answered here. */
  readonly hosts: Hosts;
  /** Whether a Pod of the namespace has the address; undefined: names of Pods are not checked. */
  readonly isPod: ((namespace: string, address: Uint8Array) => boolean) | undefined;
  /** A random number, not 0, by which equal records are shuffled, so that clients which take the first spread; undefined: they stay. */
  readonly order: number | undefined;
};

export type Answer =
  /** Known here. `authorities` holds the SOA where there is no record to give (RFC 2308). */
  | {
      readonly kind: 'local';
      readonly rcode: number;
      readonly answers: readonly ResourceRecord[];
      readonly authorities: readonly ResourceRecord[];
      readonly additionals: readonly ResourceRecord[];
    }
  /** To be asked elsewhere under `name`; `aliases` are the CNAMEs that lead there and stand before what comes back. */
  | { readonly kind: 'forward'; readonly name: string; readonly aliases: readonly ResourceRecord[] };

/**
 * Answers one question from the view; never blocks, never fails.
 * A name that exists without records of the type is NOERROR with nothing in it, not NXDOMAIN: resolvers may take NXDOMAIN
 * for every type of the name, so a missing AAAA would hide the A record too.
 */
export function answer(question: Question, view: DnsView, options: AnswerOptions): Answer {
  if (question.class !== classIn) return refusal(rcodes.REFUSED);
  if (question.type === rrTypes.AXFR || question.type === rrTypes.IXFR) return refusal(rcodes.REFUSED);
  const { name } = question;
  if (name === options.zone || name.endsWith(`.${options.zone}`)) return answerZone(question, view, options);
  if (name.endsWith('.arpa')) return answerReverse(question, view, options);
  return answerOutside(question, options);
}

/** What a name in the zone is: its records of all types; 'missing' if there is no such name. */
type Found = readonly ResourceRecord[] | 'missing';

function answerZone(question: Question, view: DnsView, options: AnswerOptions): Answer {
  const aliases: ResourceRecord[] = [];
  let { name } = question;
  for (let followed = 0; followed <= aliasesMax; followed++) {
    const found = findName(name, view, options);
    // Before the first list is complete "no" would be a guess, and one that clients keep.
    if (found === 'missing')
      return view.synced ? negative(rcodes.NXDOMAIN, aliases, view, options) : unsynced();
    const matching = found.filter((record) => matches(record.data, question.type));
    if (matching.length > 0) {
      const ordered = options.order === undefined ? matching : shuffled(matching, options.order);
      return positive([...aliases, ...ordered], additionalsOf(ordered, view, options));
    }
    const alias = found.find((record) => record.data.type === 'CNAME');
    if (alias?.data.type !== 'CNAME') {
      return view.synced ? negative(rcodes.NOERROR, aliases, view, options) : unsynced();
    }
    aliases.push(alias);
    name = alias.data.target;
    if (name === options.zone || name.endsWith(`.${options.zone}`)) continue;
    // Stub resolvers do not follow CNAMEs themselves: they need the address in this answer.
    const hosts = hostRecords(name, options).filter((record) => matches(record.data, question.type));
    if (hosts.length > 0) return positive([...aliases, ...hosts], []);
    return options.forwards(name) ? { kind: 'forward', name, aliases } : positive(aliases, []);
  }
  return refusal(rcodes.SERVFAIL); // names that lead round in a circle
}

function matches(data: RecordData, type: number): boolean {
  if (type === rrTypes.ANY) return true;
  return data.type !== 'other' && rrTypes[data.type] === type;
}

/** All records of one name in the zone. */
function findName(name: string, view: DnsView, options: AnswerOptions): Found {
  const { zone } = options;
  if (name === zone) return apex(view, options);
  const labels = name.slice(0, -zone.length - 1).split('.');
  const kind = labels.pop();
  switch (kind) {
    case 'svc':
      return findService(name, labels, view, options);
    case 'pod':
      return findPod(name, labels, view, options);
    case 'dns-version':
      if (labels.length > 0) return 'missing';
      return [record(name, options, { type: 'TXT', texts: [Buffer.from(schemaVersion)] })];
    case 'dns':
      if (labels.length === 0) return [];
      return labels.length === 1 && labels[0] === 'ns' ? nameServer(name, view, options) : 'missing';
    default:
      return 'missing';
  }
}

/** `labels` are those before "svc": [[_port, _proto | hostname,] service,] namespace. */
function findService(name: string, labels: readonly string[], view: DnsView, options: AnswerOptions): Found {
  const namespace = labels.at(-1);
  const service = labels.at(-2);
  if (namespace === undefined) return [];
  if (service === undefined) return view.hasNamespace(namespace) ? [] : 'missing';
  const records = view.service(namespace, service);
  if (records === undefined) return 'missing';
  const serviceName = labels.length === 2 ? name : `${service}.${namespace}.svc.${options.zone}`;
  if (labels.length === 2) return ofService(serviceName, records, options);
  const own = labels.slice(0, -2);
  if (own.length <= 2 && own.at(-1)?.startsWith('_') === true) {
    return ofPort(name, serviceName, records, own, options);
  }
  if (records.kind !== 'headless' || own.length !== 1) return 'missing';
  const endpoint = records.endpoints.get(own[0] ?? '');
  return endpoint === undefined ? 'missing' : addressRecords(name, endpoint.addresses, ofEndpoints(options));
}

function ofService(name: string, records: ServiceRecords, options: AnswerOptions): Found {
  switch (records.kind) {
    case 'external':
      return records.target === '' ? [] : [record(name, options, { type: 'CNAME', target: records.target })];
    case 'headless':
      // Spec 2.4.1: a headless Service without ready endpoints does not exist.
      if (records.endpoints.size === 0) return 'missing';
      break;
    case 'cluster':
      break;
  }
  return [
    ...addressRecords(name, records.addresses, records.kind === 'headless' ? ofEndpoints(options) : options),
    ...serviceRecords(name, name, records, undefined, options),
  ];
}

/** `own` is ["_port", "_proto"], or ["_proto"], which exists but has no records. */
function ofPort(
  name: string,
  serviceName: string,
  records: ServiceRecords,
  own: readonly string[],
  options: AnswerOptions,
): Found {
  const protocol = own.at(-1)?.slice(1) ?? '';
  const port = own.length === 2 ? own[0] : undefined;
  if (port !== undefined && !port.startsWith('_')) return 'missing';
  const found = serviceRecords(name, serviceName, records, { port: port?.slice(1), protocol }, options);
  if (found.length === 0) return 'missing';
  return port === undefined ? [] : found;
}

/** SRV records of all named ports, or of those that `only` names. */
function serviceRecords(
  name: string,
  serviceName: string,
  records: ServiceRecords,
  only: { readonly port: string | undefined; readonly protocol: string } | undefined,
  options: AnswerOptions,
): readonly ResourceRecord[] {
  const wanted = (port: NamedPort): boolean =>
    only === undefined ||
    (port.protocol === only.protocol && (only.port === undefined || port.name === only.port));
  const toRecord = (port: NamedPort, target: string): ResourceRecord =>
    record(name, records.kind === 'headless' ? ofEndpoints(options) : options, {
      type: 'SRV',
      priority: 0,
      weight: 100,
      port: port.port,
      target,
    });
  switch (records.kind) {
    case 'external':
      return [];
    case 'cluster':
      return records.ports.filter(wanted).map((port) => toRecord(port, serviceName));
    case 'headless':
      return [...records.endpoints.values()].flatMap((endpoint) =>
        endpoint.ports.filter(wanted).map((port) => toRecord(port, `${endpoint.hostname}.${serviceName}`)),
      );
  }
}

/** `labels` are those before "pod": [address with dashes,] namespace. */
function findPod(name: string, labels: readonly string[], view: DnsView, options: AnswerOptions): Found {
  const namespace = labels.at(-1);
  if (namespace === undefined) return [];
  if (!view.hasNamespace(namespace)) return 'missing';
  if (labels.length === 1) return [];
  const text = labels[0] ?? '';
  const ip = parseIp(text.replaceAll('-', '.')) ?? parseIp(text.replaceAll('-', ':'));
  if (ip === undefined || labels.length !== 2) return 'missing';
  const address = ipToBytes(ip);
  if (options.isPod?.(namespace, address) === false) return 'missing';
  return [record(name, options, { type: ip.family === 4 ? 'A' : 'AAAA', address })];
}

function apex(view: DnsView, options: AnswerOptions): Found {
  return [
    soa(view, options),
    record(options.zone, options, { type: 'NS', target: `ns.dns.${options.zone}` }),
  ];
}

/** Where the zone's name server is: the Service by which clusters find their DNS, whoever serves it. */
function nameServer(name: string, view: DnsView, options: AnswerOptions): Found {
  const records = view.service('kube-system', 'kube-dns');
  return records?.kind === 'cluster' ? addressRecords(name, records.addresses, options) : [];
}

function addressRecords(
  name: string,
  addresses: Addresses,
  options: AnswerOptions,
): readonly ResourceRecord[] {
  return [
    ...addresses.v4.map((address) => record(name, options, { type: 'A', address })),
    ...addresses.v6.map((address) => record(name, options, { type: 'AAAA', address })),
  ];
}

/** Addresses of SRV targets, so that a client need not ask again. */
function additionalsOf(
  answers: readonly ResourceRecord[],
  view: DnsView,
  options: AnswerOptions,
): readonly ResourceRecord[] {
  const targets = new Set<string>();
  for (const { data } of answers) if (data.type === 'SRV' || data.type === 'NS') targets.add(data.target);
  const additionals: ResourceRecord[] = [];
  for (const target of targets) {
    const found = findName(target, view, options);
    if (found === 'missing') continue;
    additionals.push(...found.filter(({ data }) => data.type === 'A' || data.type === 'AAAA'));
  }
  return additionals;
}

function answerReverse(question: Question, view: DnsView, options: AnswerOptions): Answer {
  const address = addressOfReverseName(question.name);
  if (address === undefined) return answerOutside(question, options);
  const key = addressKey(address);
  const targets = [
    ...view.reverse(key).map(({ namespace, service, hostname }) => ({
      target: `${hostname === '' ? '' : `${hostname}.`}${service}.${namespace}.svc.${options.zone}`,
      keep: hostname === '' ? options : ofEndpoints(options),
    })),
    ...(options.hosts.names.get(key) ?? []).map((target) => ({ target, keep: options })),
  ];
  if (targets.length === 0) {
    if (!view.synced) return unsynced();
    if (!options.zoneOnly && options.forwards(question.name))
      return { kind: 'forward', name: question.name, aliases: [] };
    // RFC 6303: nobody outside knows addresses that are only of this place.
    return isLocalAddress(address) ? plain(rcodes.NXDOMAIN) : refusal(rcodes.REFUSED);
  }
  if (question.type !== rrTypes.PTR && question.type !== rrTypes.ANY) return plain(rcodes.NOERROR);
  return positive(
    targets.map(({ target, keep }) => record(question.name, keep, { type: 'PTR', target })),
    [],
  );
}

/** Types that ask for a host; a host of one label is nobody's outside (search lists make many such questions). */
const hostTypes: ReadonlySet<number> = new Set([
  rrTypes.A,
  rrTypes.AAAA,
  rrTypes.CNAME,
  rrTypes.SVCB,
  rrTypes.HTTPS,
  rrTypes.ANY,
]);

function answerOutside(question: Question, options: AnswerOptions): Answer {
  const { name, type } = question;
  if (options.zoneOnly) return refusal(rcodes.REFUSED);
  if (name === 'localhost' || name.endsWith('.localhost')) {
    // RFC 6761, section 6.3: never asked of anybody.
    const all = localhost.map((data) => record(name, options, data));
    return positive(
      all.filter(({ data }) => matches(data, type)),
      [],
    );
  }
  const hosts = hostRecords(name, options);
  if (hosts.length > 0) {
    return positive(
      hosts.filter(({ data }) => matches(data, type)),
      [],
    );
  }
  if (!name.includes('.') && hostTypes.has(type)) return plain(rcodes.NXDOMAIN);
  return options.forwards(name) ? { kind: 'forward', name, aliases: [] } : refusal(rcodes.REFUSED);
}

function hostRecords(name: string, options: AnswerOptions): readonly ResourceRecord[] {
  const addresses = options.hosts.addresses.get(name);
  return addresses === undefined ? [] : addressRecords(name, addresses, options);
}

const localhost: readonly RecordData[] = [
  { type: 'A', address: Uint8Array.of(127, 0, 0, 1) },
  { type: 'AAAA', address: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) },
];

function soa(view: DnsView, { zone, ttlSeconds }: AnswerOptions): ResourceRecord {
  return {
    name: zone,
    ttlSeconds,
    data: {
      type: 'SOA',
      primary: `ns.dns.${zone}`,
      mailbox: `hostmaster.${zone}`,
      serial: view.serial,
      refreshSeconds: 7200,
      retrySeconds: 1800,
      expireSeconds: 86_400,
      // A name that is not there now may be there in a moment: its absence is remembered no longer than an address.
      minimumSeconds: ttlSeconds,
    },
  };
}

/** Services stay, endpoints come and go. */
function ofEndpoints(options: AnswerOptions): AnswerOptions {
  return { ...options, ttlSeconds: Math.min(options.ttlSeconds, endpointTtlSecondsMax) };
}

function record(name: string, { ttlSeconds }: AnswerOptions, data: RecordData): ResourceRecord {
  return { name, ttlSeconds, data };
}

function positive(answers: readonly ResourceRecord[], additionals: readonly ResourceRecord[]): Answer {
  return { kind: 'local', rcode: rcodes.NOERROR, answers, authorities: [], additionals };
}

function negative(
  rcode: number,
  aliases: readonly ResourceRecord[],
  view: DnsView,
  options: AnswerOptions,
): Answer {
  return {
    kind: 'local',
    rcode,
    answers: aliases,
    authorities: [soa(view, options)],
    additionals: [],
  };
}

function unsynced(): Answer {
  return refusal(rcodes.SERVFAIL);
}

function refusal(rcode: number): Answer {
  return plain(rcode);
}

function plain(rcode: number): Answer {
  return { kind: 'local', rcode, answers: [], authorities: [], additionals: [] };
}
