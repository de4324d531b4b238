import { ensureObject, numberAt, objectAt, objectsAt, setDefault, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { Json, JsonObject } from '../object.ts';
import { validateScaler } from './autoscaling-validation.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';

/** HorizontalPodAutoscaler, stored as autoscaling/v2. v1 shows the one metric that it knows, the target for CPU. */

function cpuMetric(object: JsonObject): JsonObject | undefined {
  return objectsAt(object, 'spec', 'metrics').find(
    (metric) =>
      metric['type'] === 'Resource' &&
      stringAt(metric, 'resource', 'name') === 'cpu' &&
      numberAt(metric, 'resource', 'target', 'averageUtilization') !== undefined,
  );
}

/** What v1 has no fields for is carried in this annotation, so that a client of v1 loses nothing. */
const metricsAnnotation = 'autoscaling.alpha.kubernetes.io/metrics';
const behaviorAnnotation = 'autoscaling.alpha.kubernetes.io/behavior';

function toV2(object: JsonObject): JsonObject {
  const { targetCPUUtilizationPercentage: target, ...spec } = objectAt(object, 'spec') ?? {};
  const metadata = { ...objectAt(object, 'metadata') };
  const annotations = { ...objectAt(metadata, 'annotations') };
  const metrics = [
    ...(typeof target === 'number'
      ? [
          {
            type: 'Resource',
            resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: target } },
          },
        ]
      : []),
    ...carried(annotations[metricsAnnotation]),
  ];
  const [behavior] = carried(annotations[behaviorAnnotation]);
  delete annotations[metricsAnnotation];
  delete annotations[behaviorAnnotation];
  if (Object.keys(annotations).length === 0) delete metadata['annotations'];
  else metadata['annotations'] = annotations;
  return {
    ...object,
    apiVersion: 'autoscaling/v2',
    metadata,
    spec: { ...spec, metrics, ...(behavior === undefined ? {} : { behavior }) },
    ...statusToV2(object),
  };
}

function carried(text: unknown): readonly JsonObject[] {
  if (typeof text !== 'string') return [];
  try {
    return objectsAt({ items: JSON.parse(text) }, 'items');
  } catch {
    return []; // written by hand: what cannot be read is left out
  }
}

function statusToV2(object: JsonObject): JsonObject {
  const status = objectAt(object, 'status');
  if (status === undefined) return {};
  const { currentCPUUtilizationPercentage: _cpu, ...rest } = status;
  return { status: rest };
}

function toV1(object: JsonObject): JsonObject {
  const { metrics: _metrics, behavior, ...spec } = objectAt(object, 'spec') ?? {};
  const cpu = cpuMetric(object);
  const others = objectsAt(object, 'spec', 'metrics').filter((metric) => metric !== cpu);
  const metadata = { ...objectAt(object, 'metadata') };
  if (others.length > 0 || behavior !== undefined) {
    metadata['annotations'] = {
      ...objectAt(metadata, 'annotations'),
      ...(others.length === 0 ? {} : { [metricsAnnotation]: JSON.stringify(others) }),
      ...(behavior === undefined ? {} : { [behaviorAnnotation]: JSON.stringify([behavior]) }),
    };
  }
  const status = objectAt(object, 'status');
  const utilization = numberAt(cpu, 'resource', 'target', 'averageUtilization');
  const used = objectsAt(status, 'currentMetrics')
    .filter((metric) => stringAt(metric, 'resource', 'name') === 'cpu')
    .map((metric) => numberAt(metric, 'resource', 'current', 'averageUtilization'))[0];
  return {
    ...object,
    apiVersion: 'autoscaling/v1',
    metadata,
    spec: { ...spec, ...(utilization === undefined ? {} : { targetCPUUtilizationPercentage: utilization }) },
    ...(status === undefined
      ? {}
      : {
          status: {
            ...pick(status, ['currentReplicas', 'desiredReplicas', 'lastScaleTime', 'observedGeneration']),
            ...(used === undefined ? {} : { currentCPUUtilizationPercentage: used }),
          },
        }),
  };
}

function pick(object: JsonObject, fields: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => fields.includes(key)));
}

/** Field of a metric that says what it is about. */
const sources: Readonly<Record<string, string>> = {
  Resource: 'resource',
  ContainerResource: 'containerResource',
  Pods: 'pods',
  Object: 'object',
  External: 'external',
};
/** Metrics that a table shows; of more only their number. */
const targetsMax = 2;

/** What each metric is and what it should be, as kubectl's users know it: `cpu: 12%/80%`. */
function targets(object: JsonObject): string {
  const metrics = objectsAt(object, 'spec', 'metrics');
  if (metrics.length === 0) return '<none>';
  const shown = metrics.slice(0, targetsMax).map((metric) => targetOf(metric, object));
  const more = metrics.length > targetsMax ? ` + ${metrics.length - targetsMax} more...` : '';
  return `${shown.join(', ')}${more}`;
}

function targetOf(metric: JsonObject, object: JsonObject): string {
  const type = stringAt(metric, 'type');
  const source = sources[type] ?? '';
  const current = objectsAt(object, 'status', 'currentMetrics').find(
    (other) => other['type'] === type && whatIsMeasured(other, source) === whatIsMeasured(metric, source),
  );
  const prefix =
    type === 'Resource' || type === 'ContainerResource' ? `${stringAt(metric, source, 'name')}: ` : '';
  const target = objectAt(metric, source, 'target');
  const percent = numberAt(target, 'averageUtilization');
  if (percent !== undefined) {
    const used = numberAt(current, source, 'current', 'averageUtilization');
    return `${prefix}${used === undefined ? unknown : `${used}%`}/${percent}%`;
  }
  const average = stringAt(target, 'averageValue');
  const field = average === '' ? 'value' : 'averageValue';
  const suffix = average !== '' && (type === 'Object' || type === 'External') ? ' (avg)' : '';
  return `${prefix}${stringAt(current, source, 'current', field) || unknown}/${stringAt(target, field)}${suffix}`;
}

const unknown = '<unknown>';

function whatIsMeasured(metric: JsonObject, source: string): string {
  const { target: _target, current: _current, ...identity } = objectAt(metric, source) ?? {};
  return JSON.stringify(Object.entries(identity).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

const identity = {
  group: 'autoscaling',
  kind: 'HorizontalPodAutoscaler',
  plural: 'horizontalpodautoscalers',
  namespaced: true,
  shortNames: ['hpa'],
  categories: ['all'],
  subresources: ['status'],
} as const;

function columnsOf(asV2: (object: JsonObject) => JsonObject) {
  return [
    nameColumn,
    column('Reference', 'What it scales.', (object) => {
      const target = objectAt(object, 'spec', 'scaleTargetRef');
      return `${stringAt(target, 'kind')}/${stringAt(target, 'name')}`;
    }),
    column('Targets', 'What it aims at.', (object) => targets(asV2(object))),
    column('MinPods', 'Fewest Pods.', (object) =>
      String(numberAt(object, 'spec', 'minReplicas') ?? '<unset>'),
    ),
    column('MaxPods', 'Most Pods.', (object) => numberAt(object, 'spec', 'maxReplicas') ?? 0, 'integer'),
    column(
      'Replicas',
      'Pods now.',
      (object) => numberAt(object, 'status', 'currentReplicas') ?? 0,
      'integer',
    ),
    ageColumn,
  ];
}

const percentRule = { type: 'Percent', value: 100, periodSeconds: 15 } as const;

/** What Kubernetes scales by where a behavior leaves it open. */
const behaviorDefaults = {
  scaleUp: {
    stabilizationWindowSeconds: 0,
    selectPolicy: 'Max',
    policies: [{ type: 'Pods', value: 4, periodSeconds: 15 }, percentRule],
  },
  // Without a window of its own a scaler waits as long as its controller is told to.
  scaleDown: { selectPolicy: 'Max', policies: [percentRule] },
} as const;

/** Both directions of a behavior that names at least one; a scaler without a behavior stays so. */
function defaultBehavior(spec: JsonObject): void {
  const behavior = objectAt(spec, 'behavior');
  if (behavior === undefined) return;
  for (const [direction, defaults] of Object.entries(behaviorDefaults)) {
    const rules = ensureObject(behavior, direction);
    for (const [field, value] of Object.entries(defaults))
      setDefault(rules, field, structuredClone(value) as Json);
  }
}

const scalerV2: Kind = defineKind({
  ...identity,
  version: 'v2',
  schema: 'autoscaling/v2.HorizontalPodAutoscaler',
  columns: columnsOf((object) => object),
  setDefaults(object: JsonObject): void {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'minReplicas', 1);
    defaultBehavior(spec);
    if (objectsAt(spec, 'metrics').length > 0) return;
    const target = { type: 'Utilization', averageUtilization: 80 };
    spec['metrics'] = [{ type: 'Resource', resource: { name: 'cpu', target } }];
  },
  validate: validateScaler,
});

const scalerV1: Kind = defineKind({
  ...identity,
  version: 'v1',
  schema: 'autoscaling/v1.HorizontalPodAutoscaler',
  columns: columnsOf(toV2),
  stored: { ...identity, version: 'v2', toStored: toV2, fromStored: toV1 },
  setDefaults(object: JsonObject): void {
    const spec = ensureObject(object, 'spec');
    setDefault(spec, 'minReplicas', 1);
    const annotations = objectAt(object, 'metadata', 'annotations');
    if (annotations?.[metricsAnnotation] === undefined)
      setDefault(spec, 'targetCPUUtilizationPercentage', 80);
  },
  validate: (object) => validateScaler(toV2(object)),
});

export const autoscalingKinds: readonly Kind[] = [scalerV2, scalerV1];
