import { randomInt } from 'node:crypto';
import type { Http2SecureServer, ServerHttp2Session } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { assert } from '../base/assert.ts';
import { systemClock } from '../base/clock.ts';
import { parseCidr } from '../base/ip.ts';
import { aborted } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { Store } from '../store/store.ts';
import { createAggregationRegistry } from './aggregation/registry.ts';
import { runAggregation } from './aggregation/run.ts';
import type { AuditLog } from './audit/log.ts';
import { createAuthorizer } from './authorizer.ts';
import { bootstrap } from './bootstrap.ts';
import type { ApiServerConfig, ListenAddress } from './config.ts';
import type { ApiContext } from './context.ts';
import { runDefinitionCleanup } from './custom-resources/cleanup.ts';
import { createCustomKinds } from './custom-resources/registry.ts';
import { runEventExpiry } from './event-expiry.ts';
import { createHttpServer } from './http.ts';
import { createKubeletLink } from './kubelet-link.ts';
import { createMetrics } from './metrics.ts';
import { createPolicyRegistry } from './policies/registry.ts';
import { createQuotas } from './quota.ts';
import { createServiceAllocator } from './service-allocator.ts';
import { runServiceRanges } from './service-ranges.ts';
import { createTokenAuthority } from './tokens.ts';
import { serveUpgrade } from './upgrade.ts';
import { createUsageMeter } from './usage/measure.ts';
import { createWebhookClient } from './webhooks/client.ts';
import { createWebhookRegistry } from './webhooks/registry.ts';

/** Connections waiting to be accepted on one listening socket. */
const backlog = 511;
/** How long open requests have to end at a stop before their connections are cut, ms. */
const drainMs = 1_000;
/** How long connections without requests may take to close by themselves at a stop, ms. Some clients never do. */
const lingerMs = 100;

/**
 * Serves until the signal aborts, then ends watches, lets requests finish and closes the store. `onReady` is called with the
 * addresses once requests are answered. Nothing is kept outside: several servers can run in one process. Rejects when
 * the store cannot be opened or an address cannot be listened on.
 */
export async function runApiServer(
  config: ApiServerConfig,
  log: Logger,
  signal: AbortSignal,
  onReady: (addresses: readonly ListenAddress[]) => void = () => {},
): Promise<void> {
  const store = await openStore(config, log);
  const context = createContext(config, log, store, await openAudit(config, log));
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {}); // reported by the throw below; requests that wait get it too
  const { server, idle } = createHttpServer(context, ready.promise, signal);
  server.on('upgrade', (request, socket, head) => void serveUpgrade(context, request, socket, head, signal));
  const connections = trackConnections(server, idle);
  const listeners: Server[] = [];
  try {
    for (const open of [
      ...config.listen.map((address) => () => listen(server, { ...address, backlog })),
      ...config.listenFds.map((fd) => () => listen(server, { fd })),
    ]) {
      listeners.push(await open());
    }
    const addresses = listeners.map(addressOf);
    await bootstrap(context, config.advertisePort ?? addresses[0]?.port ?? 6443);
    ready.resolve();
    onReady(addresses);
    await Promise.all([
      aborted(signal),
      context.quotas.run(context.clock, signal),
      runServiceRanges(store, context.clock, signal),
      runDefinitionCleanup(store, context.clock, signal),
      runAggregation(context, signal),
      runEventExpiry(store, context.clock, log, config.limits.eventTtlMs, signal),
    ]);
  } catch (error) {
    ready.reject(error);
    throw error;
  } finally {
    for (const listener of listeners) listener.close();
    await connections.end();
    server.close();
    context.authorizer.stop();
    context.services.stop();
    context.customs.stop();
    context.kubelets.close();
    context.webhookRegistry.stop();
    context.policies.stop();
    context.aggregation.stop();
    context.webhooks.close();
    await context.audit?.close();
    await store.close();
  }
}

async function openStore(config: ApiServerConfig, log: Logger): Promise<Store> {
  if (config.store === 'memory') {
    const { openMemoryStore } = await import('../store/memory.ts');
    return openMemoryStore();
  }
  if (config.store !== 'sqlite') {
    const [{ openEtcdStore, etcdStoreDefaults }, { etcdClientDefaults }] = await Promise.all([
      import('../store/etcd.ts'),
      import('../store/etcd-client.ts'),
    ]);
    return openEtcdStore(systemClock, log, {
      ...etcdClientDefaults,
      ...etcdStoreDefaults,
      ...config.store,
    });
  }
  const { openSqliteStore } = await import('../store/sqlite.ts');
  return openSqliteStore(join(config.dataDir, 'store', 'state.db'));
}

async function openAudit({ audit }: ApiServerConfig, log: Logger): Promise<AuditLog | undefined> {
  if (audit === undefined) return undefined;
  const { openAuditLog } = await import('./audit/log.ts');
  return openAuditLog(audit, systemClock, log);
}

function createContext(
  config: ApiServerConfig,
  log: Logger,
  store: Store,
  audit: AuditLog | undefined,
): ApiContext {
  const serviceCidrs = config.serviceCidrs.map((text) => {
    const cidr = parseCidr(text);
    assert(cidr !== undefined, `service CIDR ${text} is a range of addresses`);
    return cidr;
  });
  const clock = systemClock;
  const kubelets = createKubeletLink(store, config);
  return {
    config,
    log,
    clock,
    store,
    authorizer: createAuthorizer(store),
    tokens: createTokenAuthority(store, clock, {
      issuer: `https://kubernetes.default.svc.${config.clusterDomain}`,
      privateKeyPem: config.pki.serviceAccountKey,
      publicKeyPem: config.pki.serviceAccountPublicKey,
    }),
    services: createServiceAllocator(store, {
      serviceCidrs,
      nodePortRange: config.nodePortRange,
      random: (below) => randomInt(below),
    }),
    customs: createCustomKinds(store),
    quotas: createQuotas(store, typeof config.store !== 'string'),
    kubelets,
    usage: createUsageMeter(kubelets, clock, log),
    metrics: createMetrics(),
    webhookRegistry: createWebhookRegistry(store),
    policies: createPolicyRegistry(store),
    aggregation: createAggregationRegistry(store, config),
    webhooks: createWebhookClient(store, clock),
    audit,
  };
}

/**
 * The TLS server itself never listens: it gets its connections from plain servers, one a listening socket, so that any
 * number of addresses and inherited sockets share it.
 */
async function listen(
  server: Http2SecureServer,
  where: { readonly host: string; readonly port: number; readonly backlog: number } | { readonly fd: number },
): Promise<Server> {
  const listener = createServer((socket) => {
    socket.setNoDelay(true);
    server.emit('connection', socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(where, () => {
      listener.off('error', reject);
      resolve();
    });
  });
  return listener;
}

function addressOf(listener: Server): ListenAddress {
  const address = listener.address() as AddressInfo; // never a path: only TCP sockets are listened on
  return { host: address.address, port: address.port };
}

/** Knows every connection, so that a stop can end them all: after their answers, or `drainMs` later. */
function trackConnections(server: Http2SecureServer, idle: () => Promise<void>): { end(): Promise<void> } {
  const sockets = new Set<Socket>();
  const secured = new Set<TLSSocket>();
  const sessions = new Set<ServerHttp2Session>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('secureConnection', (socket) => {
    secured.add(socket);
    socket.once('close', () => secured.delete(socket));
  });
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
  });
  return {
    async end() {
      await within(drainMs, idle());
      const closed = [...sockets].map(
        (socket) => new Promise<void>((resolve) => void socket.once('close', () => resolve())),
      );
      for (const session of sessions) session.close();
      for (const socket of secured) if (socket.alpnProtocol !== 'h2') socket.destroySoon();
      await within(lingerMs, Promise.all(closed));
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Resolves with `done` or after `ms`, whichever comes first. */
async function within(ms: number, done: Promise<unknown>): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const cancel = systemClock.after(ms, limit.resolve);
  await Promise.race([done, limit.promise]);
  cancel();
}
