import { randomBytes } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { Authority, KeyPair } from '../../base/certificates.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { ClientHello } from '../passthrough/client-hello.ts';
import { matchRelayed, routesOfHost } from '../routes/match.ts';
import { serverTlsOptions, type TlsSource } from './tls-source.ts';
import { type Certificate, emptyRouteTable, type RouteTable } from '../routes/table.ts';
import type { ClientTls } from './transport.ts';
import { TicketKeys, ticketSecret, type TicketSecret } from './ticket-keys.ts';

/** Name in the certificate that clients without a name, or with one that no Ingress has, are shown. */
const defaultName = 'fairlead-ingress.local';
/** Certificates of our own are good for this long … */
const issuedForMs = 365 * 86_400_000;
/** … and are replaced when they are this old. */
const renewAfterMs = 180 * 86_400_000;
/** They begin in the past, because clocks differ. */
const backdateMs = 3_600_000;
/** Own certificates in memory; beyond, the oldest is made anew when asked for again. */
const issuedMax = 1024;

type Issued = { readonly pair: KeyPair; readonly atMs: number };

/**
 * Which certificate a TLS client is shown: the Secret's whose host fits its SNI name (exact, then wildcard), else that of
 * an Ingress for all hosts, else one of our own, signed when it is first needed by the cluster's CA, or without one by a CA that lives as long as the
 * process. A new table changes what new handshakes see; connections go on.
 */
export class Certificates implements TlsSource {
  #table: RouteTable = emptyRouteTable;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #authorityPair: KeyPair | undefined;
  #authority: Promise<Authority> | undefined;
  /** By Certificate; a broken one is undefined. Dies with the table that names it. */
  readonly #pairs = new WeakMap<Certificate, { readonly pair: KeyPair | undefined }>();
  readonly #issued = new Map<string, Issued | Promise<Issued>>();
  /** By how the table has them; with authorities that can be used. */
  readonly #clients = new WeakMap<ClientTls, ClientTls>();
  readonly #ticketKeys: TicketKeys;
  readonly #issuedMax: number;

  /**
   * @param tickets those of another worker; undefined: our own
   * @param most certificates of our own in memory
   */
  constructor(
    log: Logger,
    clock: Clock,
    authority: KeyPair | undefined,
    tickets?: TicketSecret,
    most = issuedMax,
  ) {
    this.#issuedMax = most;
    this.#ticketKeys = new TicketKeys(tickets ?? ticketSecret(randomBytes(32), clock.nowMs()));
    this.#log = log;
    this.#clock = clock;
    this.#authorityPair = authority;
  }

  ticketKeys(): Buffer {
    return this.#ticketKeys.current(this.#clock.nowMs());
  }

  get looksAtHellos(): boolean {
    return this.#table.relayed.size > 0 || this.#table.asksClients;
  }

  passesThrough({ serverName }: ClientHello): boolean {
    return matchRelayed(this.#table, serverName) !== undefined;
  }

  publish(table: RouteTable): void {
    this.#table = table;
  }

  pairFor(serverName: string | undefined): KeyPair | Promise<KeyPair> {
    const host = serverName?.toLowerCase() ?? '';
    const { certificates } = this.#table;
    const pair = this.#pairOf(this.#certificateFor(host)) ?? this.#pairOf(certificates.get(''));
    if (pair !== undefined) return pair;
    const own = this.#own(this.#ownName(host));
    return own instanceof Promise ? own.then((made) => made.pair) : own.pair;
  }

  /** How clients of that host show who they are; undefined: they are not asked. PEM texts that cannot be used make nobody believed. */
  clientTlsFor(serverName: string | undefined): ClientTls | undefined {
    if (!this.#table.asksClients) return undefined;
    const asked = routesOfHost(this.#table, serverName?.toLowerCase() ?? '')?.clientCertificate?.tls;
    if (asked === undefined) return undefined;
    let client = this.#clients.get(asked);
    if (client === undefined) {
      client = this.#usable(asked);
      this.#clients.set(asked, client);
    }
    return client;
  }

  #usable(client: ClientTls): ClientTls {
    const { ca, crl } = client;
    try {
      createSecureContext({ ca, ...(crl === undefined ? {} : { crl }) });
      return client;
    } catch (error) {
      this.#log.warn('authorities of clients cannot be used; nobody is believed', { error });
      return { ...client, ca: '', crl: undefined };
    }
  }

  #certificateFor(host: string): Certificate | undefined {
    const { certificates } = this.#table;
    const exact = certificates.get(host);
    if (exact !== undefined) return exact;
    const dot = host.indexOf('.');
    return dot === -1 ? undefined : certificates.get(`*${host.slice(dot)}`);
  }

  /** Own certificates are made only for hosts that an Ingress has, or any client could make us sign without end. */
  #ownName(host: string): string {
    if (this.#table.exactHosts.has(host)) return host;
    const dot = host.indexOf('.');
    const suffix = host.slice(dot + 1);
    return dot > 0 && this.#table.wildcardHosts.has(suffix) ? `*.${suffix}` : defaultName;
  }

  #pairOf(certificate: Certificate | undefined): KeyPair | undefined {
    if (certificate === undefined) return undefined;
    const known = this.#pairs.get(certificate);
    if (known !== undefined) return known.pair;
    const text = (base64: string): string => Buffer.from(base64, 'base64').toString('latin1');
    let pair: KeyPair | undefined = {
      certificate: text(certificate.certBase64),
      key: text(certificate.keyBase64),
    };
    try {
      createSecureContext({ ...serverTlsOptions, cert: pair.certificate, key: pair.key });
    } catch (error) {
      const { secret } = certificate;
      this.#log.warn('the certificate of a Secret cannot be used; showing one of our own', { secret, error });
      pair = undefined;
    }
    this.#pairs.set(certificate, { pair });
    return pair;
  }

  #own(name: string): Issued | Promise<Issued> {
    const known = this.#issued.get(name);
    if (known instanceof Promise) return known;
    if (known !== undefined && this.#clock.nowMs() - known.atMs < renewAfterMs) return known;
    const making = this.#make(name);
    this.#issued.delete(name);
    this.#issued.set(name, making);
    const oldest = this.#issued.keys().next();
    if (this.#issued.size > this.#issuedMax && oldest.done !== true) this.#issued.delete(oldest.value);
    return making;
  }

  async #make(name: string): Promise<Issued> {
    try {
      const made = await this.#issue(name);
      if (this.#issued.has(name)) this.#issued.set(name, made); // in its place among the oldest
      return made;
    } catch (error) {
      this.#issued.delete(name); // the next handshake tries again
      throw error;
    }
  }

  async #issue(name: string): Promise<Issued> {
    const nowMs = this.#clock.nowMs();
    this.#authority ??= this.#loadAuthority();
    const authority = await this.#authority;
    const pair = await authority.issue({
      commonName: name.length <= 64 ? name : defaultName, // X.520 bounds a common name; the alternative name counts
      dnsNames: [name],
      usage: 'server',
      notBefore: new Date(nowMs - backdateMs),
      notAfter: new Date(nowMs + issuedForMs),
    });
    return { pair, atMs: nowMs };
  }

  async #loadAuthority(): Promise<Authority> {
    const { loadAuthority } = await import('../../base/certificates.ts');
    return loadAuthority(this.#authorityPair ?? (await createAuthorityPair(this.#clock.nowMs())));
  }
}

/** A CA of our own, for as long as the process lives. */
export async function createAuthorityPair(nowMs: number): Promise<KeyPair> {
  const { createAuthority } = await import('../../base/certificates.ts');
  const notBefore = new Date(nowMs - backdateMs);
  const authority = await createAuthority('fairlead-ingress', notBefore, new Date(nowMs + 10 * issuedForMs));
  return authority.pair;
}
