import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind } from '../api/kind.ts';
import { certificateSigningRequestKind } from '../api/kinds/certificatesigningrequest.ts';
import { deploymentKind } from '../api/kinds/deployment.ts';
import { ingressKind } from '../api/kinds/ingress.ts';
import { podKind } from '../api/kinds/pod.ts';
import { serviceCidrKind } from '../api/kinds/servicecidr.ts';
import type { JsonObject } from '../api/object.ts';
import type { Target } from './context.ts';
import { stampChanged } from './stamp.ts';
import type { WritablePart } from './write.ts';

const old = {
  metadata: {
    name: 'web',
    namespace: 'default',
    uid: 'u',
    labels: { app: 'web' },
    annotations: { by: 'maker' },
    ownerReferences: [{ uid: 'o' }],
  },
  spec: { is: 'old' },
};
const wanted = {
  metadata: {
    name: 'web',
    namespace: 'default',
    uid: 'u',
    labels: { app: 'new' },
    annotations: { by: 'status' },
  },
  spec: { is: 'new' },
  status: { is: 'new' },
};

const changedBy = (kind: Kind, part: WritablePart): JsonObject & { readonly metadata?: unknown } =>
  stampChanged(
    { kind, name: 'web', namespace: kind.namespaced ? 'default' : '' } as Target,
    { part, dryRun: false, change: () => wanted },
    structuredClone(wanted),
    structuredClone(old),
  );

test('a status brings labels and annotations with it, as far as its kind lets it', () => {
  const { labels, ownerReferences } = old.metadata;
  const brought = wanted.metadata;
  const cases: readonly (readonly [Kind, object])[] = [
    [ingressKind, brought],
    [deploymentKind, { ...brought, labels }],
    [podKind, { ...brought, ownerReferences }],
    [{ ...ingressKind, custom: true }, old.metadata],
    [serviceCidrKind, { ...old.metadata }],
  ];
  for (const [kind, metadata] of cases) {
    assert.deepEqual(
      changedBy(kind, 'status'),
      { metadata, spec: old.spec, status: wanted.status },
      kind.kind,
    );
  }
});

test('an approval brings annotations with it, a change of a Pod’s containers does not', () => {
  assert.deepEqual(changedBy(certificateSigningRequestKind, 'approval').metadata, {
    ...wanted.metadata,
  });
  assert.deepEqual(changedBy(podKind, 'ephemeralcontainers').metadata, old.metadata);
  assert.deepEqual(changedBy(podKind, 'resize').metadata, old.metadata);
});
