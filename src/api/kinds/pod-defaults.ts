import {
  boolAt,
  ensureObject,
  numberAt,
  objectAt,
  objectsAt,
  setDefault,
  stringAt,
  stringMapAt,
} from '../fields.ts';
import { isJsonObject, type JsonObject } from '../object.ts';
import { addQuantities, formatQuantity, parseQuantity, type Quantity } from '../quantity.ts';

/** Kubernetes' defaults of PodSpec. All idempotent. */

/** What holds for the spec of Pods and of templates alike. */
export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, 'restartPolicy', 'Always');
  setDefault(spec, 'dnsPolicy', 'ClusterFirst');
  setDefault(spec, 'terminationGracePeriodSeconds', 30);
  setDefault(spec, 'schedulerName', 'default-scheduler');
  setDefault(spec, 'securityContext', {});
  const account = stringAt(spec, 'serviceAccountName') || stringAt(spec, 'serviceAccount');
  if (account !== '') {
    spec['serviceAccountName'] = account;
    spec['serviceAccount'] = account; // the old name of the same field, still read by clients
  }
  for (const list of ['initContainers', 'containers', 'ephemeralContainers']) {
    for (const container of objectsAt(spec, list))
      defaultContainer(container, list === 'ephemeralContainers');
  }
  for (const volume of objectsAt(spec, 'volumes')) defaultVolume(volume);
  for (const constraint of objectsAt(spec, 'topologySpreadConstraints')) {
    setDefault(constraint, 'nodeAffinityPolicy', 'Honor');
    setDefault(constraint, 'nodeTaintsPolicy', 'Ignore');
  }
}

/** What holds for Pods only. */
export function defaultPod(pod: JsonObject): void {
  const spec = ensureObject(pod, 'spec');
  defaultPodSpec(spec);
  if ((numberAt(spec, 'terminationGracePeriodSeconds') ?? 0) < 0) spec['terminationGracePeriodSeconds'] = 1;
  setDefault(spec, 'enableServiceLinks', true);
  for (const list of ['initContainers', 'containers']) {
    for (const container of objectsAt(spec, list)) {
      requestsFromLimits(container);
      if (boolAt(spec, 'hostNetwork')) {
        for (const port of objectsAt(container, 'ports'))
          setDefault(port, 'hostPort', port['containerPort'] ?? 0);
      }
    }
  }
  defaultPodRequests(spec);
}

/** The Pod's own requests, where it bounds itself as a whole: what its containers ask for, else its limits. */
function defaultPodRequests(spec: JsonObject): void {
  const own = objectAt(spec, 'resources');
  if (own === undefined) return;
  const requests = { ...objectAt(own, 'requests') };
  const sums = new Map<string, Quantity>();
  for (const container of objectsAt(spec, 'containers')) {
    for (const [name, text] of Object.entries(stringMapAt(container, 'resources', 'requests'))) {
      const amount = parseQuantity(text);
      if (amount === undefined || !isPodLevelResource(name)) continue;
      const sum = sums.get(name);
      sums.set(name, sum === undefined ? amount : addQuantities(sum, amount));
    }
  }
  for (const [name, sum] of sums) setDefault(requests, name, formatQuantity(sum));
  for (const [name, limit] of Object.entries(stringMapAt(own, 'limits'))) setDefault(requests, name, limit);
  if (Object.keys(requests).length > 0) own['requests'] = requests;
}

/** What a Pod can ask for as a whole. */
export function isPodLevelResource(name: string): boolean {
  return name === 'cpu' || name === 'memory' || name.startsWith('hugepages-');
}

export function defaultPodTemplate(template: JsonObject): void {
  ensureObject(template, 'metadata');
  defaultPodSpec(ensureObject(template, 'spec'));
}

function requestsFromLimits(container: JsonObject): void {
  const limits = objectAt(container, 'resources', 'limits');
  if (limits === undefined) return;
  const requests = ensureObject(ensureObject(container, 'resources'), 'requests');
  for (const [name, quantity] of Object.entries(limits)) setDefault(requests, name, quantity);
}

function defaultContainer(container: JsonObject, isEphemeral: boolean): void {
  setDefault(container, 'terminationMessagePath', '/dev/termination-log');
  setDefault(container, 'terminationMessagePolicy', 'File');
  setDefault(container, 'imagePullPolicy', pullPolicyOf(stringAt(container, 'image')));
  setDefault(container, 'resources', {});
  for (const port of objectsAt(container, 'ports')) setDefault(port, 'protocol', 'TCP');
  for (const variable of objectsAt(container, 'env')) {
    defaultFieldRef(objectAt(variable, 'valueFrom') ?? {});
  }
  for (const hook of ['postStart', 'preStop']) {
    const get = objectAt(container, 'lifecycle', hook, 'httpGet');
    if (get !== undefined) defaultHttpGet(get);
  }
  if (isEphemeral) return; // probes are not allowed there
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = objectAt(container, name);
    if (probe !== undefined) defaultProbe(probe);
  }
}

/** Always for `latest` and for images without tag and digest, else IfNotPresent. */
export function pullPolicyOf(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const name = image.slice(image.lastIndexOf('/') + 1);
  const colon = name.indexOf(':');
  return colon === -1 || name.slice(colon + 1) === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultProbe(probe: JsonObject): void {
  // Zero means "not set" in these fields, whose least value is one.
  for (const [field, value] of [
    ['timeoutSeconds', 1],
    ['periodSeconds', 10],
    ['successThreshold', 1],
    ['failureThreshold', 3],
  ] as const) {
    if (probe[field] === undefined || probe[field] === 0) probe[field] = value;
  }
  const get = objectAt(probe, 'httpGet');
  if (get !== undefined) defaultHttpGet(get);
  const grpc = objectAt(probe, 'grpc');
  if (grpc !== undefined) setDefault(grpc, 'service', '');
}

function defaultHttpGet(get: JsonObject): void {
  if (stringAt(get, 'path') === '') get['path'] = '/';
  if (stringAt(get, 'scheme') === '') get['scheme'] = 'HTTP';
}

/** Octal 0644. */
const fileModeDefault = 420;

function defaultVolume(volume: JsonObject): void {
  const sources = Object.keys(volume).filter((key) => key !== 'name');
  if (sources.length === 0) volume['emptyDir'] = {};
  for (const source of ['secret', 'configMap', 'downwardAPI', 'projected']) {
    const found = objectAt(volume, source);
    if (found !== undefined) setDefault(found, 'defaultMode', fileModeDefault);
  }
  const hostPath = objectAt(volume, 'hostPath');
  if (hostPath !== undefined) setDefault(hostPath, 'type', '');
  for (const item of objectsAt(volume, 'downwardAPI', 'items')) defaultFieldRef(item);
  for (const source of objectsAt(volume, 'projected', 'sources')) {
    const token = objectAt(source, 'serviceAccountToken');
    if (token !== undefined) setDefault(token, 'expirationSeconds', 3600);
    for (const item of objectsAt(source, 'downwardAPI', 'items')) defaultFieldRef(item);
  }
}

function defaultFieldRef(item: JsonObject): void {
  const { fieldRef, resourceFieldRef } = item;
  if (isJsonObject(fieldRef)) setDefault(fieldRef, 'apiVersion', 'v1');
  if (isJsonObject(resourceFieldRef)) setDefault(resourceFieldRef, 'divisor', '0');
}

/** How long a Pod stays on a node that is not ready or not reachable, seconds. */
const nodeTroubleTolerationSeconds = 300;
const nodeTroubleTaints = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'] as const;

/** What Kubernetes' admission fills into a new Pod: the tolerations of a node in trouble. */
export function admitPod(pod: JsonObject): void {
  const spec = ensureObject(pod, 'spec');
  const tolerations = objectsAt(spec, 'tolerations');
  const missing = nodeTroubleTaints.filter((taint) => !tolerations.some((entry) => tolerates(entry, taint)));
  if (missing.length === 0) return;
  spec['tolerations'] = [
    ...tolerations,
    ...missing.map((key) => ({
      key,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: nodeTroubleTolerationSeconds,
    })),
  ];
}

function tolerates(toleration: JsonObject, taint: string): boolean {
  const key = stringAt(toleration, 'key');
  const effect = stringAt(toleration, 'effect');
  return (key === taint || key === '') && (effect === 'NoExecute' || effect === '');
}

/** Guaranteed, Burstable or BestEffort, from requests and limits of CPU and memory. */
export function qosClassOf(spec: JsonObject): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  let some = false;
  let guaranteed = true;
  for (const container of [...objectsAt(spec, 'containers'), ...objectsAt(spec, 'initContainers')]) {
    for (const resource of ['cpu', 'memory']) {
      const request = stringAt(container, 'resources', 'requests', resource);
      const limit = stringAt(container, 'resources', 'limits', resource);
      if (request !== '' || limit !== '') some = true;
      if (limit === '' || (request !== '' && request !== limit)) guaranteed = false;
    }
  }
  if (!some) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
