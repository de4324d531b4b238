import type { ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service } from '../api/gen/core-v1.ts';
import { formatHostPort } from '../base/ip.ts';
import { envVarNameProblems } from '../api/names.ts';
import { ContainerConfigError } from './config-error.ts';
import { expandVariables } from './expand.ts';
import { fieldValue, type PodFacts, resourceFieldValue } from './field-ref.ts';

/** Objects of the Pod's namespace; undefined where there is none of that name. */
export type EnvSources = {
  readonly pod: Pod;
  readonly facts: PodFacts;
  /** Of the Pod's namespace, and `kubernetes` of namespace default. */
  readonly services: readonly Service[];
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
};

/**
 * A container's environment: service variables, then envFrom, then env, the later winning.
 * Throws ContainerConfigError where a source is missing and not optional.
 */
export function compileEnv(container: Container, sources: EnvSources): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const [name, value] of serviceVariables(sources)) variables.set(name, value);
  const services = new Map(variables);
  for (const from of container.envFrom ?? []) {
    const data = envFromData(from, sources);
    for (const [key, value] of Object.entries(data)) {
      const name = `${from.prefix ?? ''}${key}`;
      if (envVarNameProblems(name).length === 0) variables.set(name, value); // others are skipped, as Kubernetes does
    }
  }
  const own = new Map<string, string>();
  for (const variable of container.env ?? []) {
    const value = valueOf(
      variable,
      container,
      sources,
      (name) => own.get(name) ?? variables.get(name) ?? services.get(name),
    );
    if (value !== undefined) own.set(variable.name, value);
  }
  for (const [name, value] of own) variables.set(name, value);
  return variables;
}

function envFromData(
  from: NonNullable<Container['envFrom']>[number],
  sources: EnvSources,
): Readonly<Record<string, string>> {
  if (from.configMapRef !== undefined) {
    const { name = '', optional } = from.configMapRef;
    const object = sources.configMap(name);
    if (object === undefined && optional !== true) throw notFound('configmap', name);
    return object?.data ?? {};
  }
  if (from.secretRef !== undefined) {
    const { name = '', optional } = from.secretRef;
    const object = sources.secret(name);
    if (object === undefined && optional !== true) throw notFound('secret', name);
    return Object.fromEntries(
      Object.entries(object?.data ?? {}).map(([key, value]) => [key, decodeBase64(value)]),
    );
  }
  return {};
}

function valueOf(
  variable: EnvVar,
  container: Container,
  sources: EnvSources,
  lookUp: (name: string) => string | undefined,
): string | undefined {
  if (variable.valueFrom === undefined) {
    const value = variable.value ?? '';
    return value.includes('$') ? expandVariables(value, { get: lookUp }) : value;
  }
  return sourceValue(variable.valueFrom, variable.name, container, sources);
}

function sourceValue(
  from: EnvVarSource,
  variable: string,
  container: Container,
  sources: EnvSources,
): string | undefined {
  if (from.fieldRef !== undefined) return fieldValue(from.fieldRef, sources.pod, sources.facts);
  if (from.resourceFieldRef !== undefined) {
    const name = from.resourceFieldRef.containerName;
    const all = [...(sources.pod.spec?.containers ?? []), ...(sources.pod.spec?.initContainers ?? [])];
    const named = name === undefined || name === '' ? container : all.find((one) => one.name === name);
    if (named === undefined)
      throw new ContainerConfigError(`container ${name} of variable ${variable} not found`);
    return resourceFieldValue(from.resourceFieldRef, named, sources.facts);
  }
  if (from.configMapKeyRef !== undefined) {
    const { name = '', key, optional } = from.configMapKeyRef;
    const object = sources.configMap(name);
    if (object === undefined && optional !== true) throw notFound('configmap', name);
    return required(object?.data?.[key], optional, `key ${key} in ConfigMap`, sources, name);
  }
  if (from.secretKeyRef !== undefined) {
    const { name = '', key, optional } = from.secretKeyRef;
    const object = sources.secret(name);
    if (object === undefined && optional !== true) throw notFound('secret', name);
    const encoded = object?.data?.[key];
    const value = encoded === undefined ? undefined : decodeBase64(encoded);
    return required(value, optional, `key ${key} in Secret`, sources, name);
  }
  throw new ContainerConfigError(
    `the valueFrom of variable ${variable} is of a kind that this node does not know`,
  );
}

function required(
  value: string | undefined,
  optional: boolean | undefined,
  what: string,
  sources: EnvSources,
  name: string,
): string | undefined {
  if (value !== undefined || optional === true) return value;
  throw new ContainerConfigError(`couldn't find ${what} ${sources.pod.metadata?.namespace}/${name}`);
}

function notFound(kind: string, name: string): ContainerConfigError {
  return new ContainerConfigError(`${kind} "${name}" not found`);
}

function decodeBase64(text: string): string {
  return Buffer.from(text, 'base64').toString();
}

/** Docker-links style variables of every Service with a ClusterIP. Spec: Kubernetes, "Accessing the Service". */
function* serviceVariables(sources: EnvSources): Generator<readonly [string, string], void, void> {
  const links = sources.pod.spec?.enableServiceLinks !== false;
  for (const service of sources.services) {
    const { name = '', namespace } = service.metadata ?? {};
    const isMaster = namespace === 'default' && name === 'kubernetes';
    if (!isMaster && (!links || namespace !== sources.pod.metadata?.namespace)) continue;
    const address = service.spec?.clusterIP;
    const ports = service.spec?.ports ?? [];
    const [first] = ports;
    if (address === undefined || address === '' || address === 'None' || first === undefined) continue;
    const prefix = variablePart(name);
    yield [`${prefix}_SERVICE_HOST`, address];
    yield [`${prefix}_SERVICE_PORT`, String(first.port)];
    for (const port of ports) {
      if (port.name !== undefined && port.name !== '') {
        yield [`${prefix}_SERVICE_PORT_${variablePart(port.name)}`, String(port.port)];
      }
    }
    yield [
      `${prefix}_PORT`,
      `${(first.protocol ?? 'TCP').toLowerCase()}://${formatHostPort(address, first.port)}`,
    ];
    for (const port of ports) {
      const protocol = port.protocol ?? 'TCP';
      const portPrefix = `${prefix}_PORT_${port.port}_${protocol}`;
      yield [portPrefix, `${protocol.toLowerCase()}://${formatHostPort(address, port.port)}`];
      yield [`${portPrefix}_PROTO`, protocol.toLowerCase()];
      yield [`${portPrefix}_PORT`, String(port.port)];
      yield [`${portPrefix}_ADDR`, address];
    }
  }
}

function variablePart(name: string): string {
  return name.replaceAll('-', '_').replaceAll('.', '_').toUpperCase();
}
