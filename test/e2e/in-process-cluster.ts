import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Node, Pod } from '../../src/api/gen/core-v1.ts';
import { splitKey } from '../../src/api/object.ts';
import { nodes, pods } from '../../src/api/resource.ts';
import { apiServerDefaults } from '../../src/apiserver/config.ts';
import { runApiServer } from '../../src/apiserver/run.ts';
import { rfc3339, systemClock } from '../../src/base/clock.ts';
import { createLogger, silentLogger } from '../../src/base/log.ts';
import { type ApiClient, isApiError } from '../../src/client/client.ts';
import { createApiClient } from '../../src/client/http.ts';
import { loadKubeconfig } from '../../src/client/kubeconfig.ts';
import { createInformer } from '../../src/control/create-informer.ts';
import { done, runReconciler } from '../../src/control/reconciler.ts';
import { WorkQueue } from '../../src/control/work-queue.ts';
import { controllersDefaults, runControllers } from '../../src/controllers/run.ts';
import { createTestPki, kubeconfigText } from '../support/pki.ts';
import { eventually, runOk } from '../support/shell.ts';

/** An API server in memory with controllers and stand-ins of kubelets on two nodes. */
export async function startCluster() {
  const log = process.env['DEBUG'] === undefined ? silentLogger : createLogger('test', { level: 'debug' });
  const directory = mkdtempSync(join(tmpdir(), 'fairlead-controllers-'));
  const pki = await createTestPki();
  const stop = new AbortController();
  const ready = Promise.withResolvers<number>();
  const config = {
    ...apiServerDefaults,
    dataDir: directory,
    store: 'memory',
    listen: [{ host: '127.0.0.1', port: 0 }],
    pki: pki.server,
  } as const;
  const server = runApiServer(config, log, stop.signal, (addresses) =>
    ready.resolve(addresses[0]?.port ?? 0),
  );
  const port = await Promise.race([ready.promise, server.then(() => 0)]);
  async function clientOf(name: string, commonName: string, organizations: readonly string[] = []) {
    const file = join(directory, `${name}.yaml`);
    const credentials = await pki.client(commonName, organizations);
    writeFileSync(file, kubeconfigText(`https://127.0.0.1:${port}`, pki.server.caCert, credentials));
    return { file, client: createApiClient(await loadKubeconfig(file)) };
  }
  const admin = await clientOf('admin', 'fairlead-admin', ['system:masters']);
  const manager = await clientOf('controllers', 'system:kube-controller-manager');
  const controllersConfig = {
    ...controllersDefaults,
    nodeMonitorGraceMs: 3_600_000, // the nodes are stand-ins that send no heartbeats
    autoscalerSyncMs: 500, // a test does not wait for minutes' numbers
    certificateAuthority: pki.server.caCert,
    signing: { authority: pki.authority.pair, durationMsMax: 365 * 86_400_000 },
  };
  const controllers = runControllers(controllersConfig, manager.client, log, stop.signal);
  const certificate = await pki.serving('kubelet');
  const names = ['server-0', 'agent-0'];
  const summaries = await Promise.all(
    names.map((name) => serveSummary(name, { ...certificate, ca: pki.server.caCert }, admin.client)),
  );
  for (const [at, name] of names.entries()) {
    await admin.client.create(nodes, readyNode(name, summaries[at]?.port ?? 0));
  }
  const kubelets = runKubelets(admin.client, stop.signal);
  async function kubectl(...args: readonly string[]): Promise<string> {
    return runOk('kubectl', ['--kubeconfig', admin.file, `--cache-dir=${directory}/cache`, ...args]);
  }
  return {
    client: admin.client,
    kubeconfig: admin.file,
    kubectl,
    /** A file with one object. */
    write: (object: object): string => {
      const file = join(directory, 'object.json');
      writeFileSync(file, JSON.stringify(object));
      return file;
    },
    apply: async (...objects: readonly object[]): Promise<void> => {
      const file = join(directory, 'objects.json');
      writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
      await kubectl('apply', '--validate=false', '-f', file);
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await Promise.all([controllers, kubelets, server, ...summaries.map((summary) => summary.stop())]);
      admin.client.close();
      manager.client.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** What every container of the stand-ins uses. */
const containerUsage = { cores: 0.25, bytes: 64 * 1024 * 1024 };

/** The kubelet of a node, as far as it tells what its Pods use. */
async function serveSummary(
  nodeName: string,
  { certificate, key, ca }: { readonly certificate: string; readonly key: string; readonly ca: string },
  client: ApiClient,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const tls = { cert: certificate, key, ca, requestCert: true, rejectUnauthorized: true };
  const server = createServer(tls, (request, response) => {
    if (request.url !== '/stats/summary') {
      response.writeHead(404).end();
      return;
    }
    void client.list(pods).then(
      ({ items }) => {
        const here = items.filter(({ spec }) => spec?.nodeName === nodeName);
        response.end(JSON.stringify(summaryOf(here, systemClock.nowMs())));
      },
      (error: Error) => response.destroy(error), // the API server has ended meanwhile
    );
  });
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function summaryOf(here: readonly Pod[], nowMs: number): object {
  const time = new Date(nowMs).toISOString();
  // So small that the number is exact.
  const cpu = { time, usageCoreNanoSeconds: (nowMs % 1e9) * 1e6 * containerUsage.cores };
  const memory = { time, workingSetBytes: containerUsage.bytes };
  return {
    pods: here.map(({ metadata, spec }) => ({
      podRef: { name: metadata?.name, namespace: metadata?.namespace },
      containers: spec?.containers.map(({ name }) => ({ name, cpu, memory })),
    })),
  };
}

function readyNode(name: string, port: number): Node {
  const capacity = { cpu: '8', memory: '16Gi', pods: '110' };
  const now = rfc3339(systemClock.nowMs());
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name } },
    spec: {},
    status: {
      capacity,
      allocatable: capacity,
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
      conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now }],
    },
  };
}

/** A Pod with this annotation is over at once, in the phase that it names: "Succeeded", "Failed", "Failed 3" with an exit code. */
export const outcomeAnnotation = 'test.fairlead.dev/outcome';

/** Marks bound Pods as running and ready, and lets go of those that are to be deleted. */
async function runKubelets(client: ApiClient, signal: AbortSignal): Promise<void> {
  const informer = createInformer(client, pods);
  const queue = new WorkQueue(systemClock);
  informer.onChange((key) => queue.add(key));
  let address = 1;
  const reconcile = async (key: string) => {
    const pod = informer.get(key);
    const { namespace, name } = splitKey(key);
    if (pod === undefined || (pod.spec?.nodeName ?? '') === '') return done;
    try {
      if (pod.metadata?.deletionTimestamp !== undefined) {
        await client.delete(pods, namespace, name, { gracePeriodSeconds: 0, uid: pod.metadata.uid });
      } else if (pod.status?.podIP === undefined && pod.status?.phase !== outcomeOf(pod)?.phase) {
        await client.patch(pods, namespace, name, 'strategic', runningStatus(pod, address++), {
          subresource: 'status',
        });
      }
    } catch (error) {
      if (!isApiError(error, 'NotFound')) throw error;
    }
    return done;
  };
  await Promise.all([
    informer.run(signal),
    runReconciler({ name: 'kubelets', queue, concurrency: 8, reconcile }, signal),
  ]);
}

function outcomeOf(pod: Pod): { readonly phase: string; readonly exitCode: number } | undefined {
  const [phase, exitCode = '0'] = pod.metadata?.annotations?.[outcomeAnnotation]?.split(' ') ?? [];
  return phase === undefined ? undefined : { phase, exitCode: Number(exitCode) };
}

function runningStatus(pod: Pod, address: number): unknown {
  const podIP = `10.42.0.${address}`;
  const lastTransitionTime = rfc3339(systemClock.nowMs());
  const conditions = ['Ready', 'ContainersReady'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime,
  }));
  const containerStatuses = (pod.spec?.containers ?? []).map(({ name, image }) => ({
    ...{ name, image, imageID: '', ready: true, restartCount: 0 },
    state: { running: { startedAt: lastTransitionTime } },
  }));
  const outcome = outcomeOf(pod);
  if (outcome !== undefined) {
    const terminated = { exitCode: outcome.exitCode, finishedAt: lastTransitionTime };
    const ended = containerStatuses.map((status) => ({ ...status, ready: false, state: { terminated } }));
    return { status: { phase: outcome.phase, containerStatuses: ended } };
  }
  const startTime = lastTransitionTime;
  const running = { phase: 'Running', podIP, podIPs: [{ ip: podIP }], startTime };
  return { status: { ...running, conditions, containerStatuses } };
}

export async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  await eventually(async () => assert.ok(await holds(), `never: ${what}`), { everyMs: 20 });
}
