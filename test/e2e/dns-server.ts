/** The DNS server on real sockets for tests; its API is in memory. */
import type { Service } from '../../src/api/gen/core-v1.ts';
import { configMaps, endpointSlices, events, namespaces, pods, services } from '../../src/api/resource.ts';
import { silentLogger } from '../../src/base/log.ts';
import type { Upstream } from '../../src/dns/forward.ts';
import { type DnsAddresses, type DnsConfig, runDns } from '../../src/dns/run.ts';
import { FakeApi } from '../support/fake-api.ts';
import { serviceOf, sliceOf } from '../support/services.ts';
import { run, which } from '../support/shell.ts';

/** Why tests that ask by dig cannot run here; false: they can. */
export const noDig = which('dig') === undefined ? 'needs dig (Debian package bind9-dnsutils)' : false;

/** A DNS server in this process, on loopback at a port of its own. */
export type RunningDns = DnsAddresses & { readonly api: FakeApi; stop(): Promise<void> };

/** An API with a few Services. */
export function seeded(): FakeApi {
  const api = new FakeApi({ resources: [services, endpointSlices, namespaces, pods, configMaps, events] });
  api.seed(namespaces, { metadata: { name: 'default' } }, { metadata: { name: 'other' } });
  api.seed(
    services,
    serviceOf('web', '10.43.0.80', { ports: [{ name: 'http', port: 80, protocol: 'TCP' }] }),
    serviceOf('db', 'None'),
    external('outside', 'www.example.com'),
  );
  api.seed(endpointSlices, sliceOf('db', ['10.42.0.5', '10.42.1.5']));
  return api;
}

function external(name: string, externalName: string): Service {
  return { metadata: { name, namespace: 'default' }, spec: { type: 'ExternalName', externalName } };
}

/** Starts the server; resolves when it is ready. */
export async function start(
  api: FakeApi,
  upstreams: readonly Upstream[],
  changed: Partial<DnsConfig> = {},
): Promise<RunningDns> {
  const stop = new AbortController();
  const ready = Promise.withResolvers<DnsAddresses>();
  const host = '127.0.0.1';
  const config = {
    listen: [{ host, port: 0 }],
    clusterDomain: 'cluster.local',
    upstreams,
    ttlSeconds: 5,
    healthAddress: { host, port: 0 },
    ...changed,
  };
  const finished = runDns(config, api, silentLogger, stop.signal, { onReady: ready.resolve });
  finished.catch(ready.reject);
  const addresses = await ready.promise;
  return {
    ...addresses,
    api,
    async stop() {
      stop.abort();
      await finished;
    },
  };
}

/** What dig says, in its own form. */
export async function dig(server: { readonly port: number }, question: string): Promise<string> {
  const words = question.split(' ');
  const { stdout } = await run('dig', [
    '@127.0.0.1',
    '-p',
    String(server.port),
    '+tries=1',
    '+time=30',
    ...words,
  ]);
  return stdout;
}

/** The data of the records alone. */
export async function short(server: { readonly port: number }, question: string): Promise<readonly string[]> {
  const output = await dig(server, `${question} +short`);
  return output.split('\n').filter((line) => line !== '');
}
