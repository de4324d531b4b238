import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeEntry, encodeTemplate, eventOf, eventsBetween, prefixEnd } from './etcd-value.ts';
import { isStoreError } from './store.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const kv = (key: string, text: string, modRevision: number) => ({
  key: bytes(`/p/${key}`),
  value: encodeTemplate({ before: '<', after: `>${text}` }),
  createRevision: modRevision,
  modRevision,
  version: 1,
});

test('etcd value: a template gets its revision where it belongs, whatever its bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), fc.nat(), (before, after, revision) => {
      const { value } = decodeEntry('/a', encodeTemplate({ before, after }), revision);
      assert.equal(value.toString(), `${before}${revision}${after}`.toWellFormed());
    }),
  );
});

for (const text of ['', 'x', '\n', '5\nab', '-1\nab', '1e1\nabcdefghijkl', '99999999999\n']) {
  test(`etcd value: ${JSON.stringify(text)} was not written by us`, () => {
    assert.throws(
      () => decodeEntry('/a', bytes(text), 1),
      (error) => isStoreError(error, 'Failed') && error.message.includes('/a'),
    );
  });
}

test('etcd value: a deletion shows the final state at the revision of the deletion', () => {
  const event = eventOf('/p/', { type: 1, current: kv('a', '', 9), previous: kv('a', 'x', 4) });
  assert.deepEqual(
    [
      event?.type,
      event?.key,
      event?.revision,
      event?.entry.value.toString(),
      event?.previous?.value.toString(),
    ],
    ['delete', 'a', 9, '<9>x', '<4>x'],
  );
});

test('etcd value: the marker and the removal of nothing are no events', () => {
  assert.equal(eventOf('/p/', { type: 0, current: kv('.marker', '', 9), previous: undefined }), undefined);
  assert.equal(eventOf('/p/', { type: 1, current: kv('a', '', 9), previous: undefined }), undefined);
});

test('etcd value: between two states there are the changes in the order of their revisions, then the removals', () => {
  const entry = (key: string, revision: number) =>
    decodeEntry(key, encodeTemplate({ before: '<', after: '>' }), revision);
  const known = [entry('/a', 1), entry('/b', 2), entry('/c', 3)];
  const loaded = [entry('/a', 1), entry('/b', 9), entry('/d', 8)];
  assert.deepEqual(
    eventsBetween(known, loaded, 10).map((event) => [event.type, event.key, event.entry.value.toString()]),
    [
      ['put', '/d', '<8>'],
      ['put', '/b', '<9>'],
      ['delete', '/c', '<10>'],
    ],
  );
});

test('etcd value: a prefix ends before the next one', () => {
  assert.equal(prefixEnd('/fairlead/').toString(), '/fairlead0');
});
