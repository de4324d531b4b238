import type {
  ConfigMap,
  DownwardAPIVolumeFile,
  KeyToPath,
  Pod,
  Secret,
  Volume,
  VolumeProjection,
} from '../api/gen/core-v1.ts';
import { MountError } from './config-error.ts';
import { fieldValue, type PodFacts, resourceFieldValue } from './field-ref.ts';

/** One file of a volume whose content comes from the API. */
export type VolumeFile = {
  /** Relative to the volume's root, without ".." parts. */
  readonly path: string;
  readonly data: Uint8Array;
  readonly mode: number;
};

export type VolumeSources = {
  readonly pod: Pod;
  readonly facts: PodFacts;
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
  /** Tokens were asked for before; undefined: not there, which is a bug. */
  token(source: TokenSource): string | undefined;
};

export type TokenSource = { readonly audience: string | undefined; readonly expirationSeconds: number };

/** Kubernetes' own life time of projected tokens: an hour, and 7 s so that it differs from a token asked for by hand. */
const tokenSecondsDefault = 3607;
const modeDefault = 0o644;
const tokenMode = 0o600;

/** The volumes that this function knows; others are mounts. */
export function isFilesVolume(volume: Volume): boolean {
  return (
    volume.configMap !== undefined ||
    volume.secret !== undefined ||
    volume.projected !== undefined ||
    volume.downwardAPI !== undefined
  );
}

/** The files of a configMap, secret, downwardAPI or projected volume. Throws MountError where a source is missing. */
export function compileVolumeFiles(volume: Volume, sources: VolumeSources): readonly VolumeFile[] {
  if (volume.configMap !== undefined) {
    const { name = '', items, optional, defaultMode } = volume.configMap;
    return configMapFiles({ name, items, optional }, defaultMode ?? modeDefault, sources);
  }
  if (volume.secret !== undefined) {
    const { secretName: name = '', items, optional, defaultMode } = volume.secret;
    return secretFiles({ name, items, optional }, defaultMode ?? modeDefault, sources);
  }
  if (volume.downwardAPI !== undefined) {
    return downwardFiles(
      volume.downwardAPI.items ?? [],
      volume.downwardAPI.defaultMode ?? modeDefault,
      sources,
    );
  }
  const mode = volume.projected?.defaultMode ?? modeDefault;
  return (volume.projected?.sources ?? []).flatMap((source) => projectionFiles(source, mode, sources));
}

/** The tokens that a Pod's volumes need, each once. */
export function tokenSourcesOf(pod: Pod): readonly TokenSource[] {
  const sources = (pod.spec?.volumes ?? []).flatMap((volume) => volume.projected?.sources ?? []);
  const tokens = sources.flatMap((source) =>
    source.serviceAccountToken === undefined ? [] : [tokenSource(source)],
  );
  return [...new Map(tokens.map((token) => [tokenKey(token), token])).values()];
}

export function tokenKey(source: TokenSource): string {
  return `${source.audience ?? ''}/${source.expirationSeconds}`;
}

function tokenSource({ serviceAccountToken }: VolumeProjection): TokenSource {
  return {
    audience: serviceAccountToken?.audience,
    expirationSeconds: serviceAccountToken?.expirationSeconds ?? tokenSecondsDefault,
  };
}

/** ConfigMaps and Secrets that a Pod reads, in volumes and environment. */
export function referencedObjects(pod: Pod): {
  readonly configMaps: ReadonlySet<string>;
  readonly secrets: ReadonlySet<string>;
} {
  const configMaps = new Set<string>();
  const secrets = new Set<string>();
  for (const volume of pod.spec?.volumes ?? []) {
    if (volume.configMap?.name !== undefined) configMaps.add(volume.configMap.name);
    if (volume.secret?.secretName !== undefined) secrets.add(volume.secret.secretName);
    for (const source of volume.projected?.sources ?? []) {
      if (source.configMap?.name !== undefined) configMaps.add(source.configMap.name);
      if (source.secret?.name !== undefined) secrets.add(source.secret.name);
    }
  }
  for (const container of [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])]) {
    for (const from of container.envFrom ?? []) {
      if (from.configMapRef?.name !== undefined) configMaps.add(from.configMapRef.name);
      if (from.secretRef?.name !== undefined) secrets.add(from.secretRef.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      if (valueFrom?.configMapKeyRef?.name !== undefined) configMaps.add(valueFrom.configMapKeyRef.name);
      if (valueFrom?.secretKeyRef?.name !== undefined) secrets.add(valueFrom.secretKeyRef.name);
    }
  }
  for (const { name } of pod.spec?.imagePullSecrets ?? []) if (name !== undefined) secrets.add(name);
  return { configMaps, secrets };
}

function projectionFiles(
  source: VolumeProjection,
  mode: number,
  sources: VolumeSources,
): readonly VolumeFile[] {
  if (source.configMap !== undefined) {
    const { name = '', items, optional } = source.configMap;
    return configMapFiles({ name, items, optional }, mode, sources);
  }
  if (source.secret !== undefined) {
    const { name = '', items, optional } = source.secret;
    return secretFiles({ name, items, optional }, mode, sources);
  }
  if (source.downwardAPI !== undefined) return downwardFiles(source.downwardAPI.items ?? [], mode, sources);
  if (source.serviceAccountToken !== undefined) {
    const token = sources.token(tokenSource(source));
    if (token === undefined) throw new MountError('no token was issued for the service account');
    const hasOwner = sources.pod.spec?.securityContext?.fsGroup !== undefined;
    return [file(source.serviceAccountToken.path, Buffer.from(token), hasOwner ? tokenMode | 0o040 : mode)];
  }
  throw new MountError('a projected volume has a source of a kind that this node does not support');
}

type KeyedSource = {
  readonly name: string;
  readonly items: readonly KeyToPath[] | undefined;
  readonly optional: boolean | undefined;
};

function configMapFiles(source: KeyedSource, mode: number, sources: VolumeSources): readonly VolumeFile[] {
  const object = sources.configMap(source.name);
  if (object === undefined) return missing('configmap', source);
  const text = Object.entries(object.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const);
  const binary = Object.entries(object.binaryData ?? {}).map(
    ([key, value]) => [key, fromBase64(value)] as const,
  );
  return pickItems('configmap', source, new Map([...text, ...binary]), mode);
}

function secretFiles(source: KeyedSource, mode: number, sources: VolumeSources): readonly VolumeFile[] {
  const object = sources.secret(source.name);
  if (object === undefined) return missing('secret', source);
  const data = Object.entries(object.data ?? {}).map(([key, value]) => [key, fromBase64(value)] as const);
  return pickItems('secret', source, new Map(data), mode);
}

function missing(kind: string, source: KeyedSource): readonly VolumeFile[] {
  if (source.optional === true) return [];
  throw new MountError(`${kind} "${source.name}" not found`);
}

function pickItems(
  kind: string,
  source: KeyedSource,
  data: ReadonlyMap<string, Uint8Array>,
  mode: number,
): readonly VolumeFile[] {
  if (source.items === undefined) return [...data].map(([key, value]) => file(key, value, mode));
  return source.items.flatMap((item) => {
    const value = data.get(item.key);
    if (value !== undefined) return [file(item.path, value, item.mode ?? mode)];
    if (source.optional === true) return [];
    throw new MountError(`${kind} "${source.name}" references non-existent key: ${item.key}`);
  });
}

function downwardFiles(
  items: readonly DownwardAPIVolumeFile[],
  mode: number,
  sources: VolumeSources,
): readonly VolumeFile[] {
  return items.map((item) => {
    if (item.fieldRef !== undefined) {
      return file(
        item.path,
        Buffer.from(fieldValue(item.fieldRef, sources.pod, sources.facts)),
        item.mode ?? mode,
      );
    }
    const name = item.resourceFieldRef?.containerName;
    const container = sources.pod.spec?.containers.find((one) => one.name === name);
    if (item.resourceFieldRef === undefined || container === undefined) {
      throw new MountError(`downwardAPI file ${item.path} names no field and no container of the Pod`);
    }
    const text = resourceFieldValue(item.resourceFieldRef, container, sources.facts);
    return file(item.path, Buffer.from(text), item.mode ?? mode);
  });
}

function file(path: string, data: Uint8Array, mode: number): VolumeFile {
  // The API server refuses these; a file outside of the volume would be written as root.
  if (path.startsWith('/') || path.split('/').includes('..'))
    throw new MountError(`volume file path ${path} is not allowed`);
  return { path, data, mode };
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}
