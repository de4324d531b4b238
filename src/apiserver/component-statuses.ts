import { componentStatusKind } from '../api/kinds/componentstatus.ts';
import type { JsonObject } from '../api/object.ts';
import { notFound } from '../api/status.ts';
import type { Entry } from '../store/store.ts';
import type { ApiContext, Target } from './context.ts';
import type { Reply } from './exchange.ts';
import { formOf, renderList, renderObject } from './forms.ts';
import { keyOfObject, transientEntry } from './objects.ts';
import { parseSelection } from './selection.ts';

/**
 * The parts of the control plane. This server knows of others only what they do here: controllers and scheduler live off
 * watches, so one that has none open does nothing. The store answered the question, so it is healthy.
 */

/** As whom they authenticate; both may live in one process. */
const watchersOf: Readonly<Record<string, readonly string[]>> = {
  'controller-manager': ['system:kube-controller-manager'],
  scheduler: ['system:kube-scheduler', 'system:kube-controller-manager'],
};

export function listComponents(context: ApiContext, target: Target): Reply {
  const selection = parseSelection(target.kind, target.request.query);
  const entries = components(context).filter((entry) => selection.everything || selection.matches(entry));
  const page = { entries, revision: context.store.revision, continueToken: undefined, remaining: undefined };
  return renderList(context, target, formOf(target), page);
}

export function getComponent(context: ApiContext, target: Target): Reply {
  const key = keyOfObject(componentStatusKind, '', target.name);
  const entry = components(context).find((one) => one.key === key);
  if (entry === undefined) throw notFound(target.kind, target.name);
  return renderObject(context, target, formOf(target), entry, 200);
}

function components(context: ApiContext): readonly Entry[] {
  const watched = Object.entries(watchersOf).map(([name, users]) => {
    const isThere = users.some((user) => (context.metrics.watches.get(user) ?? 0) > 0);
    return componentEntry(
      name,
      isThere
        ? { type: 'Healthy', status: 'True', message: 'ok' }
        : { type: 'Healthy', status: 'False', message: '', error: `${name} watches nothing at this server` },
    );
  });
  const store = componentEntry('etcd-0', { type: 'Healthy', status: 'True', message: 'ok' });
  return [...watched, store].toSorted((a, b) => (a.key < b.key ? -1 : 1));
}

function componentEntry(name: string, condition: JsonObject): Entry {
  return transientEntry(componentStatusKind, { metadata: { name }, conditions: [condition] });
}
