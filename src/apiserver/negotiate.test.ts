import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mediaRangesMax, negotiateForm, parseAccept } from './negotiate.ts';

const cases = [
  { accept: undefined, want: 'object' },
  { accept: '*/*', want: 'object' },
  { accept: 'application/json', want: 'object' },
  { accept: 'application/vnd.kubernetes.protobuf,application/json', want: 'object' },
  { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json', want: 'table v1' },
  { accept: 'application/json;as=Table;v=v1beta1;g=meta.k8s.io', want: 'table v1beta1' },
  { accept: 'application/json;as=Table;v=v9;g=meta.k8s.io,application/json', want: 'object' },
  { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io', want: 'metadata v1' },
  { accept: 'application/json;q=0.1,application/json;as=Table;v=v1;g=meta.k8s.io', want: 'table v1' },
  { accept: 'application/vnd.kubernetes.protobuf', want: 'none' },
  { accept: 'text/html', want: 'none' },
  { accept: 'application/json;q=0', want: 'none' },
] as const;

for (const { accept, want } of cases) {
  test(`accept: ${accept ?? 'nothing'}`, () => {
    const form = negotiateForm(accept);
    const got =
      form === undefined ? 'none' : form.as === 'object' ? 'object' : `${form.as} ${form.metaVersion}`;
    assert.equal(got, want);
  });
}

test('accept: protobuf for kinds that have it, for the metadata of all, and never for Tables', () => {
  const both = 'application/vnd.kubernetes.protobuf,application/json';
  assert.equal(negotiateForm(both, { protobuf: true })?.protobuf, true);
  assert.equal(negotiateForm(both, { protobuf: false })?.protobuf, false);
  const table = `application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io`;
  assert.equal(negotiateForm(table, { protobuf: true }), undefined);
  assert.equal(negotiateForm(`${table},application/json`, { protobuf: true })?.protobuf, false);
  const metadata = 'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
  assert.deepEqual(negotiateForm(metadata, { protobuf: false }), {
    as: 'metadata',
    metaVersion: 'v1',
    contentType: 'application/vnd.kubernetes.protobuf;g=meta.k8s.io;v=v1;as=PartialObjectMetadata',
    streamType: 'application/vnd.kubernetes.protobuf;stream=watch',
    protobuf: true,
  });
});

test('accept: a review cannot be had as a Table, which nobody lists', () => {
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  assert.equal(negotiateForm(table, { tables: false }), undefined);
  assert.equal(negotiateForm(`${table},application/json`, { tables: false })?.as, 'object');
});

test('accept: elements beyond the bound are not looked at', () => {
  const others = (count: number): string => 'text/x,'.repeat(count);
  assert.ok(negotiateForm(`${others(mediaRangesMax - 1)}application/json`) !== undefined);
  assert.equal(negotiateForm(`${others(mediaRangesMax)}application/json`), undefined);
  assert.equal(parseAccept(others(100_000)).length, mediaRangesMax);
});
