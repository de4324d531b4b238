import { randomUUID } from 'node:crypto';
import { stringAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import type { JsonObject } from '../api/object.ts';
import { kindNamed } from '../api/registry.ts';
import { assert } from '../base/assert.ts';
import { rfc3339 } from '../base/clock.ts';
import type { ValueTemplate } from '../store/store.ts';
import type { ApiContext } from './context.ts';
import { keyOfObject, templateOf } from './objects.ts';

type Companion = { readonly key: string; readonly value: ValueTemplate };

/**
 * What every Namespace must hold before a Pod can be made in it: the ServiceAccount `default` and the CA's certificate.
 * They are written in the Namespace's own transaction, so `kubectl run` right behind `kubectl create namespace` works.
 * The controllers only replace what somebody deleted.
 */
export function companionsOf(
  context: Pick<ApiContext, 'clock' | 'config'>,
  kind: Kind,
  object: JsonObject,
): readonly Companion[] {
  if (kind.group !== '' || kind.plural !== 'namespaces') return [];
  const namespace = stringAt(object, 'metadata', 'name');
  return [
    companion(context, 'ServiceAccount', namespace, 'default', {}),
    companion(context, 'ConfigMap', namespace, 'kube-root-ca.crt', {
      data: { 'ca.crt': context.config.pki.caCert },
    }),
  ];
}

function companion(
  context: Pick<ApiContext, 'clock'>,
  kindName: string,
  namespace: string,
  name: string,
  rest: JsonObject,
): Companion {
  const kind = kindNamed('', 'v1', kindName);
  assert(kind !== undefined, `${kindName} is in the registry`);
  const metadata = {
    name,
    namespace,
    uid: randomUUID(),
    creationTimestamp: rfc3339(context.clock.nowMs()),
  };
  return { key: keyOfObject(kind, namespace, name), value: templateOf(kind, { metadata, ...rest }) };
}
