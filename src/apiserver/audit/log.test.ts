import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import type { ApiRequest } from '../exchange.ts';
import { type AuditLog, openAuditLog, waitingBytesMax } from './log.ts';
import { type AuditPolicy, parseAuditPolicy } from './policy.ts';
import { idLengthMax } from './trail.ts';

const user = { name: 'eve', uid: '', groups: [], extra: {} };
const info = { kind: 'path', path: '/version', verb: 'get' } as const;

function policy(): AuditPolicy {
  const parsed = parseAuditPolicy({
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    rules: [{ level: 'Metadata', omitStages: ['RequestReceived'] }],
  });
  assert.ok('rules' in parsed);
  return parsed;
}

function request(headers: ApiRequest['headers'] = {}): ApiRequest {
  return {
    method: 'GET',
    path: '/version',
    rawUrl: '/version',
    query: new URLSearchParams(),
    headers,
    user,
    remoteAddress: '10.42.0.7',
    signal: new AbortController().signal,
    body: () => Promise.resolve(Buffer.of()),
    rawBody: () => Readable.from([]),
    warnings: [],
  };
}

async function withLog(
  options: { readonly bytesMax: number; readonly backupsMax: number },
  use: (log: AuditLog, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'audit-'));
  const path = join(folder, 'audit.log');
  try {
    await use(await openAuditLog({ path, policy: policy(), ...options }, systemClock, silentLogger), folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('an event names the request, where it came from and what became of it', async () => {
  await withLog({ bytesMax: 0, backupsMax: 0 }, async (log, folder) => {
    const headers = { 'audit-id': 'mine', 'user-agent': 'curl/8', 'x-forwarded-for': '192.0.2.1, 10.42.0.7' };
    log.begin(request(headers), info, user)?.complete(200);
    await log.close();
    const text = await readFile(join(folder, 'audit.log'), 'utf8');
    const { requestReceivedTimestamp, stageTimestamp, ...event } = JSON.parse(text) as Record<
      string,
      unknown
    >;
    assert.match(String(requestReceivedTimestamp), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.match(String(stageTimestamp), /\.\d{6}Z$/);
    assert.deepEqual(event, {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'Metadata',
      auditID: 'mine',
      stage: 'ResponseComplete',
      requestURI: '/version',
      verb: 'get',
      user: { username: 'eve', groups: [] },
      sourceIPs: ['192.0.2.1', '10.42.0.7'],
      userAgent: 'curl/8',
      responseStatus: { metadata: {}, code: 200 },
    });
  });
});

test('a file that has grown is put aside, and only so many of them stay', async () => {
  await withLog({ bytesMax: 200, backupsMax: 2 }, async (log, folder) => {
    for (let at = 1; at <= 5; at += 1) {
      log.begin(request(), info, user)?.complete(200);
      while (log.counts.events < at) await systemClock.sleep(2);
    }
    await log.close();
    const files = await readdir(folder);
    const aside = files.filter((name) => /^audit-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log$/.test(name));
    assert.equal(aside.length, 2);
    assert.equal(files.length, 3);
  });
});

test('events that a slow disk cannot take are left out and counted, not kept for ever', async () => {
  await withLog({ bytesMax: 0, backupsMax: 0 }, async (log, folder) => {
    const wanted = 60_000;
    for (let at = 0; at < wanted; at += 1) log.begin(request(), info, user)?.complete(200);
    await log.close();
    const { events, errors } = log.counts;
    assert.ok(errors > 0);
    assert.equal(events + errors, wanted);
    const written = (await readFile(join(folder, 'audit.log'), 'utf8')).trim().split('\n');
    assert.equal(written.length, events);
  });
});

test('idLengthMax: a client’s longer id is replaced', async () => {
  await withLog({ bytesMax: 0, backupsMax: 0 }, async (log) => {
    const own = 'i'.repeat(idLengthMax);
    const idOf = (id: string) => log.begin(request({ 'audit-id': id }), info, user)?.id ?? '';
    assert.equal(idOf(own), own);
    assert.match(idOf(`${own}i`), /^[0-9a-f-]{36}$/);
    await log.close();
  });
});

test('waitingBytesMax: events that the disk is too slow for are left out and counted', async () => {
  await withLog({ bytesMax: 0, backupsMax: 0 }, async (log) => {
    const agent = 'x'.repeat(1024 * 1024);
    const sent = waitingBytesMax / agent.length + 1; // in one turn: nothing is written meanwhile
    for (let at = 0; at < sent; at++) log.begin(request({ 'user-agent': agent }), info, user)?.complete(200);
    await log.close();
    assert.ok(log.counts.errors > 0 && log.counts.events > 0);
    assert.equal(log.counts.errors + log.counts.events, sent);
  });
});
