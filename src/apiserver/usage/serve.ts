import { objectAt, stringAt } from '../../api/fields.ts';
import { nodeMetricsKind } from '../../api/kinds/metrics.ts';
import type { JsonObject } from '../../api/object.ts';
import { notFound } from '../../api/status.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { ApiContext, Target } from '../context.ts';
import type { Reply } from '../exchange.ts';
import { formOf, renderList, renderUnstored } from '../forms.ts';
import { transientEntry, parseEntry, prefixOf } from '../objects.ts';
import { parseSelection } from '../selection.ts';
import type { NodeUsage } from './measure.ts';
import { totalOf, usageText } from './rates.ts';

/** metrics.k8s.io: what Nodes and Pods use, asked of their kubelets. A node that does not answer is not listed. */

/** Kubelets asked at a time. */
const nodesAtOnceMax = 32;

export async function listUsage(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const selection = parseSelection(target.kind, target.request.query);
  const entries = (await usageObjects(context, target))
    .map((object) => transientEntry(target.kind, object))
    .filter((entry) => selection.everything || selection.matches(entry));
  const page = { entries, revision: context.store.revision, continueToken: undefined, remaining: undefined };
  return renderList(context, target, form, page);
}

export async function getUsage(context: ApiContext, target: Target): Promise<Reply> {
  const form = formOf(target);
  const [object] = await usageObjects(context, target);
  if (object === undefined) throw notFound(target.kind, target.name);
  return renderUnstored(context, target, form, object, 200);
}

/** Those that the path names: all, of one namespace, or one. */
async function usageObjects(context: ApiContext, target: Target): Promise<readonly JsonObject[]> {
  const nodes = objectsOf(context, 'nodes', '');
  context.usage.keep(new Set(nodes.map(nameOf)));
  if (target.kind === nodeMetricsKind) {
    const asked = nodes.filter((node) => target.name === '' || nameOf(node) === target.name);
    const usage = await measureAll(context, new Set(asked.map(nameOf)));
    return asked.flatMap((node) => {
      const found = usage.get(nameOf(node));
      return found === undefined ? [] : [nodeObject(node, found)];
    });
  }
  const pods = objectsOf(context, 'pods', target.namespace).filter(
    (pod) => target.name === '' || nameOf(pod) === target.name,
  );
  const usage = await measureAll(context, new Set(pods.map(nodeNameOf).filter((name) => name !== '')));
  return pods.flatMap((pod) => {
    const key = `${stringAt(pod, 'metadata', 'namespace')}/${nameOf(pod)}`;
    const found = usage.get(nodeNameOf(pod))?.pods.get(key);
    if (found === undefined) return [];
    const containers = found.containers.map((one) => ({ name: one.name, usage: usageText(one) }));
    return [{ ...measuredObject(pod, 'PodMetrics', found), containers }];
  });
}

async function measureAll(
  context: ApiContext,
  names: ReadonlySet<string>,
): Promise<ReadonlyMap<string, NodeUsage>> {
  const usage = new Map<string, NodeUsage>();
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      const found = await context.usage.measure(name);
      if (found !== undefined) usage.set(name, found);
    }
  };
  await Promise.all(Array.from({ length: Math.min(nodesAtOnceMax, left.length) }, work));
  return usage;
}

function objectsOf(context: ApiContext, plural: string, namespace: string): readonly JsonObject[] {
  return context.store
    .list(prefixOf({ group: '', plural }, namespace))
    .entries.map((entry) => parseEntry(entry));
}

function nameOf(object: JsonObject): string {
  return stringAt(object, 'metadata', 'name');
}

function nodeNameOf(pod: JsonObject): string {
  return stringAt(pod, 'spec', 'nodeName');
}

function nodeObject(node: JsonObject, { pods, measuredMs, windowMs }: NodeUsage): JsonObject {
  const measured = measuredObject(node, 'NodeMetrics', { timeMs: measuredMs, windowMs });
  return { ...measured, usage: usageText(totalOf(pods.values())) };
}

/** Named and labelled as what was measured. */
function measuredObject(
  of: JsonObject,
  kind: string,
  { timeMs, windowMs }: { readonly timeMs: number; readonly windowMs: number },
): JsonObject {
  const namespace = stringAt(of, 'metadata', 'namespace');
  const labels = objectAt(of, 'metadata', 'labels');
  return {
    kind,
    apiVersion: `${nodeMetricsKind.group}/${nodeMetricsKind.version}`,
    metadata: {
      name: nameOf(of),
      ...(namespace === '' ? {} : { namespace }),
      creationTimestamp: rfc3339(timeMs),
      ...(labels === undefined ? {} : { labels }),
    },
    timestamp: rfc3339(timeMs),
    window: `${windowMs / 1000}s`,
  };
}
