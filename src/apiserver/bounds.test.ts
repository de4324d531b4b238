import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { duplexPair, Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { parseMatching } from '../api/admission/match.ts';
import type { JsonObject } from '../api/object.ts';
import { podKind } from '../api/kinds/pod.ts';
import { type FailureStatus, StatusError } from '../api/status.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import { openMemoryStore } from '../store/memory.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { AdmissionRequest } from './admission-request.ts';
import { readBounded } from './bounded-body.ts';
import type { ApiContext, Target } from './context.ts';
import { convertObjects, objectsPerReviewMax } from './custom-resources/conversion.ts';
import { convertingMax, convertingQueue } from './custom-resources/converting-queue.ts';
import { conflictRetriesMax, disruptedPodsMax, takeDisruption } from './disruption.ts';
import type { ApiRequest } from './exchange.ts';
import { managerNameMax, managerOf } from './field-manager.ts';
import { groupsMax, impersonate } from './impersonate.ts';
import { answerBytesMax, openSpdy } from './kubelet-upgrade.ts';
import { keyOfObject, templateOf } from './objects.ts';
import { kubeletErrorBytesMax, streamLog } from './pod-streams.ts';
import { headerBlockBytesMax, synStreamWriter } from './spdy.ts';
import { askedAtOnceMax, validateByWebhooks, warningLengthMax } from './webhooks/dispatch.ts';
import type { Webhook } from './webhooks/registry.ts';
import { forwardedPorts, portsMax } from './websocket-forward.ts';
import { bufferedBytesMax, outboxOf } from './websocket-streams.ts';

/** What the server does at its bounds towards clients, kubelets and webhooks: the most goes through, one more does not. */

const many = <T>(count: number, make: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => make(at));

async function refusal(act: () => unknown): Promise<FailureStatus> {
  try {
    await act();
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return error.status;
  }
  return assert.fail('nothing was refused');
}

const user = { name: 'eve', uid: '', groups: [], extra: {} };
const authorizer = {
  allows: () => true,
  rulesOf: () => [],
  stop() {},
} as unknown as ApiContext['authorizer'];

function requestWith(parts: Partial<ApiRequest>): ApiRequest {
  const signal = new AbortController().signal;
  const request: Partial<ApiRequest> = {
    method: 'PATCH',
    query: new URLSearchParams(),
    headers: {},
    user,
    signal,
  };
  return { ...request, ...parts } as ApiRequest;
}

test('groupsMax: a user who is to be in one group more is forbidden', async () => {
  const groups = (count: number) =>
    requestWith({
      headers: { 'impersonate-user': 'jane', 'impersonate-group': many(count, (at) => `g${at}`).join(', ') },
    });
  assert.equal(impersonate(authorizer, groups(groupsMax)).groups.length, groupsMax + 1);
  const { code, message } = await refusal(() => impersonate(authorizer, groups(groupsMax + 1)));
  assert.deepEqual([code, message], [403, 'groups is forbidden: at most 64 groups can be impersonated']);
});

test('managerNameMax: a longer fieldManager is refused with its cause, a longer User-Agent is cut', async () => {
  const named = (length: number): Target => {
    const query = new URLSearchParams({ fieldManager: 'm'.repeat(length) });
    return { kind: podKind, subresource: '', request: requestWith({ query }) } as Target;
  };
  assert.equal(managerOf(named(managerNameMax), 'Update').name.length, managerNameMax);
  const { code, message, details } = await refusal(() => managerOf(named(managerNameMax + 1), 'Update'));
  assert.equal(code, 422);
  assert.match(
    message,
    /^PatchOptions\.meta\.k8s\.io "" is invalid: fieldManager: Too long: may not be more than 128/,
  );
  assert.deepEqual(details?.causes?.[0]?.field, 'fieldManager');
  const agent = requestWith({ headers: { 'user-agent': `${'a'.repeat(500)}/1` } });
  const byAgent = managerOf({ kind: podKind, subresource: '', request: agent } as Target, 'Update');
  assert.equal(byAgent.name.length, managerNameMax);
});

test('portsMax: one port more to be forwarded is a bad request', async () => {
  const ports = (count: number) => new URLSearchParams({ ports: many(count, (at) => at + 1).join(',') });
  assert.equal(forwardedPorts(ports(portsMax)).length, portsMax);
  const { code, message } = await refusal(() => forwardedPorts(ports(portsMax + 1)));
  assert.deepEqual([code, message], [400, 'at most 128 ports can be forwarded at a time']);
});

test('bufferedBytesMax: a kubelet is not read while its client is slow, and read again afterwards', () => {
  const sent: (() => void)[] = [];
  const websocket = {
    ...{ readyState: WebSocket.OPEN, OPEN: WebSocket.OPEN },
    send: (_message: Buffer, _options: object, done: () => void) => void sent.push(done),
  };
  let isRead = true;
  const kubelet = { pause: () => (isRead = false), resume: () => (isRead = true) };
  const outbox = outboxOf(websocket as unknown as WebSocket, kubelet as unknown as TLSSocket);
  outbox.send(Buffer.alloc(1)); // is on its way
  outbox.send(Buffer.alloc(bufferedBytesMax));
  assert.equal(isRead, true);
  outbox.send(Buffer.alloc(1));
  assert.equal(isRead, false);
  sent.shift()?.();
  assert.equal(isRead, false);
  sent.shift()?.();
  assert.equal(isRead, true, 'what is on its way does not wait any more');
});

test('headerBlockBytesMax: headers that do not fit one block are not sent', () => {
  const write = synStreamWriter();
  assert.throws(() => write(1, { big: 'x'.repeat(headerBlockBytesMax) }), /at most 65535 are sent/);
});

test('answerBytesMax: a kubelet whose answer has no end is a bad gateway; of a refusal so much is told', async () => {
  const answering = (text: string): Promise<FailureStatus> => {
    const [near, far] = duplexPair();
    far.resume();
    far.end(text);
    const socket = Object.assign(near, { setNoDelay() {}, setTimeout() {}, remoteAddress: '10.41.0.2' });
    const kubelets = { connect: () => Promise.resolve(socket) } as unknown as ApiContext['kubelets'];
    return refusal(() => openSpdy(kubelets, 'n1', '/exec/a/b/c', 'v4.channel.k8s.io'));
  };
  const endless = await answering(`HTTP/1.1 101 Switching Protocols\r\nX: ${'x'.repeat(answerBytesMax)}`);
  assert.equal(endless.code, 502);
  assert.match(endless.message, /the kubelet sent too large a head when asked to stream/);
  const refused = await answering(`HTTP/1.1 403 Forbidden\r\n\r\n${'no'.repeat(answerBytesMax)}`);
  assert.equal(refused.code, 403);
  assert.equal(refused.message.length, answerBytesMax);
});

async function storeWith(pod: JsonObject, budget?: JsonObject): Promise<Store> {
  const store = openMemoryStore();
  await store.put(keyOfObject(podKind, 'default', 'web'), templateOf(podKind, pod), 0);
  const budgets = { group: 'policy', plural: 'poddisruptionbudgets' };
  if (budget !== undefined) {
    const identity = { ...podKind, ...budgets, version: 'v1', kind: 'PodDisruptionBudget' };
    await store.put(keyOfObject(budgets, 'default', 'all'), templateOf(identity, budget), 0);
  }
  return store;
}

const pod: JsonObject = {
  metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
  spec: { nodeName: 'n1', containers: [{ name: 'main' }] },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
};
const ofPod = { kind: podKind, namespace: 'default', name: 'web', request: requestWith({}) } as Target;

test('kubeletErrorBytesMax: of a kubelet’s error without end so much is told', async () => {
  const answer = Object.assign(Readable.from(many(1_000, () => 'x'.repeat(1024))), { statusCode: 500 });
  const kubelets = { get: () => Promise.resolve(answer as unknown as IncomingMessage) };
  const context = { store: await storeWith(pod), kubelets } as unknown as ApiContext;
  const { code, message } = await refusal(() => streamLog(context, ofPod));
  assert.deepEqual([code, message.length], [500, kubeletErrorBytesMax]);
  assert.equal(answer.destroyed, true, 'and no more is read');
});

function budget(disrupted: number): JsonObject {
  return {
    metadata: { name: 'all', namespace: 'default', generation: 1 },
    spec: { selector: { matchLabels: { app: 'web' } } },
    status: {
      observedGeneration: 1,
      disruptionsAllowed: 1,
      disruptedPods: Object.fromEntries(many(disrupted, (at) => [`p${at}`, '2026-01-01T00:00:00Z'])),
    },
  };
}

test('disruptedPodsMax: a budget that remembers so many disruptions takes one more eviction later', async () => {
  const store = await storeWith(pod, budget(disruptedPodsMax));
  const context = { store, clock: systemClock } as unknown as ApiContext;
  const { code, details } = await refusal(() => takeDisruption(context, ofPod, pod));
  assert.deepEqual([code, details?.retryAfterSeconds], [429, 10]);
  assert.match(details?.causes?.[0]?.message ?? '', /too many evictions not confirmed/);
});

test('conflictRetriesMax: an eviction whose budget others write without end is given up with 504', async () => {
  const inner = await storeWith(pod, budget(0));
  let tries = 0;
  const put = (): Promise<never> => {
    tries++;
    return Promise.reject(new StoreError('Conflict', 'somebody was faster'));
  };
  const store = { list: (prefix: string) => inner.list(prefix), put };
  const context = { store, clock: systemClock } as unknown as ApiContext;
  const { code, message } = await refusal(() => takeDisruption(context, ofPod, pod));
  assert.deepEqual([code, tries], [504, conflictRetriesMax]);
  assert.match(message, /couldn't update PodDisruptionBudget "all" due to conflicts/);
});

test('objectsPerReviewMax: more objects are converted in several reviews, and in their order', async () => {
  const sizes: number[] = [];
  const post = (_address: unknown, body: JsonObject): Promise<JsonObject> => {
    const { uid, objects } = body['request'] as { uid: string; objects: JsonObject[] };
    sizes.push(objects.length);
    const convertedObjects = objects.map((object) => ({ ...object, apiVersion: 'example.com/v2' }));
    return Promise.resolve({ ...body, response: { uid, result: { status: 'Success' }, convertedObjects } });
  };
  const objects = many(
    objectsPerReviewMax * 2 + 1,
    (at): JsonObject => ({
      apiVersion: 'example.com/v1',
      kind: 'Thing',
      metadata: { name: `t${at}`, uid: `${at}` },
    }),
  );
  const converted = await convertObjects(
    { webhooks: { post, close() {} } },
    { clientConfig: { url: 'https://127.0.0.1/' }, reviewVersions: ['v1'], storageSchema: {} },
    objects,
    'example.com/v2',
    new AbortController().signal,
  );
  assert.deepEqual(sizes, [objectsPerReviewMax, objectsPerReviewMax, 1]);
  assert.deepEqual(
    converted,
    objects.map((object) => ({ ...object, apiVersion: 'example.com/v2' })),
  );
});

test('convertingMax: a watch whose events come faster than they are converted ends as expired', async () => {
  const failures: FailureStatus[] = [];
  const slow = Promise.withResolvers<void>();
  const queue = convertingQueue(
    () => slow.promise,
    (status) => void failures.push(status),
  );
  const entries = (count: number) =>
    many(count, (at) => ({ key: `k${at}`, value: Buffer.of(), revision: at + 1 }));
  const first = Promise.withResolvers<void>();
  let isSecondDone = false;
  queue.add(entries(convertingMax), () => first.resolve());
  assert.deepEqual(failures, []);
  queue.add(entries(1), () => (isSecondDone = true));
  assert.deepEqual(
    failures.map(({ code, reason }) => [code, reason]),
    [[410, 'Expired']],
  );
  slow.resolve();
  await first.promise;
  assert.equal(isSecondDone, false);
});

test('askedAtOnceMax, warningLengthMax: so many webhooks are asked together, and a longer warning is cut', async () => {
  let asking = 0;
  let most = 0;
  const post = async (_address: unknown, body: JsonObject): Promise<JsonObject> => {
    most = Math.max(most, ++asking);
    await new Promise((resolve) => setImmediate(resolve));
    asking--;
    const { uid } = body['request'] as { uid: string };
    return { ...body, response: { uid, allowed: true, warnings: ['w'.repeat(warningLengthMax + 1)] } };
  };
  const resource = { group: '', version: 'v1', plural: 'pods' };
  const kind = { group: '', version: 'v1', kind: 'Pod' };
  const request = {
    attributes: {
      operation: 'CREATE',
      kind,
      resource,
      subresource: '',
      namespace: 'a',
      name: 'web',
      user,
      dryRun: false,
    },
    warnings: [],
    annotate() {},
    signal: new AbortController().signal,
    otherForms: () => [],
    namespaceLabels: () => ({}),
    show: (object: JsonObject | undefined) => Promise.resolve(object),
  } as unknown as AdmissionRequest;
  const rule = { operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*'] };
  const webhook = {
    ...{ name: 'a', mutating: false, conditions: [], failOpen: false, timeoutMs: 1000, reinvoke: false },
    ...{ address: { place: { kind: 'url', url: 'https://127.0.0.1/' }, authorities: '' }, version: 'v1' },
    matching: parseMatching({ rules: [rule] }, 'rules'),
  } as unknown as Webhook;
  const asker = { webhooks: { post, close() {} }, log: silentLogger };
  await validateByWebhooks(
    asker,
    many(askedAtOnceMax * 2 + 1, () => webhook),
    request,
  );
  assert.equal(most, askedAtOnceMax);
  assert.equal(request.warnings.length, askedAtOnceMax * 2 + 1);
  assert.ok(request.warnings.every((warning) => warning.length === warningLengthMax));
});

test('another server’s answer beyond its bound is not read on', async () => {
  const answer = Readable.from(many(1_000, () => Buffer.alloc(1024)));
  await assert.rejects(readBounded(answer, 4096, 'the document'), /the document is larger than 4096 bytes/);
  assert.equal(answer.destroyed, true);
  assert.equal((await readBounded(Readable.from([Buffer.alloc(4096)]), 4096, 'it')).length, 4096);
});
