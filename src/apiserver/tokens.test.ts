import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { kindNamed } from '../api/registry.ts';
import { assert as ensure } from '../base/assert.ts';
import { openMemoryStore } from '../store/memory.ts';
import { keyOfObject, templateOf, templateOfEntry } from './objects.ts';
import { createForgetfulMap, createTokenAuthority, verifiedTokensMax } from './tokens.ts';

test('tokens: at most so many checked signatures are kept, and one that is kept makes no room', () => {
  const map = createForgetfulMap<number>(verifiedTokensMax);
  for (let at = 0; at < verifiedTokensMax; at++) map.set(String(at), at);
  map.set('0', 7);
  assert.deepEqual([map.size(), map.get('0'), map.get('1')], [verifiedTokensMax, 7, 1]);
  map.set('one more', 1);
  assert.deepEqual([map.size(), map.get('1'), map.get('one more')], [1, undefined, 1]);
});

test('tokens: one tells its node; one that was checked before dies with its time and with its ServiceAccount', async () => {
  const clock = new FakeClock();
  const store = openMemoryStore();
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kind = kindNamed('', 'v1', 'ServiceAccount');
  ensure(kind !== undefined, 'ServiceAccounts are served');
  const account = { metadata: { namespace: 'a', name: 'robot', uid: 'u1' } };
  const entry = await store.put(keyOfObject(kind, 'a', 'robot'), templateOf(kind, account), 0);
  const authority = createTokenAuthority(store, clock, {
    issuer: 'https://issuer',
    privateKeyPem: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKeyPem: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  });
  const subject = { namespace: 'a', serviceAccount: { name: 'robot', uid: 'u1' } };
  const short = await authority.issue(subject, [], 600);
  const long = await authority.issue(subject, [], 3600);
  for (const { token } of [short, long]) {
    assert.equal((await authority.verify(token))?.user.name, 'system:serviceaccount:a:robot');
  }
  const placed = await authority.issue({ ...subject, node: { name: 'n', uid: 'nu' } }, [], 3600);
  const { extra } = (await authority.verify(placed.token))?.user ?? {};
  assert.deepEqual(extra?.['authentication.kubernetes.io/node-name'], ['n']);
  assert.deepEqual(extra['authentication.kubernetes.io/node-uid'], ['nu']);
  await clock.advance(601_000);
  assert.equal(await authority.verify(short.token), undefined);
  assert.ok((await authority.verify(long.token)) !== undefined);
  await store.delete(entry.key, templateOfEntry(entry), entry.revision);
  assert.equal(await authority.verify(long.token), undefined);
  await store.close();
});
