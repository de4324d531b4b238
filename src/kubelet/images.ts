import type { Container, Pod, Secret } from '../api/gen/core-v1.ts';
import { isJsonObject } from '../api/object.ts';
import type { Clock } from '../base/clock.ts';
import type { Cri } from './cri.ts';
import type { CriImage, PodSandboxConfig } from './cri-messages.ts';
import type { Partially } from '../base/protobuf.ts';
import { registryOf, type RegistryCheck } from './registry-check.ts';
import { afterRestart, type Backoff, restartBackoff } from './restart-backoff.ts';

/** Why an image cannot be had; `reason` is shown as the container's waiting reason. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly reason: 'ErrImagePull' | 'ImagePullBackOff' | 'ErrImageNeverPull';
  /** When to try again, ms since the epoch. */
  readonly retryAtMs: number;

  constructor(reason: ImageError['reason'], message: string, retryAtMs: number, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.retryAtMs = retryAtMs;
  }
}

export type ImageDeps = {
  readonly cri: Cri;
  readonly clock: Clock;
  readonly registryReachable: RegistryCheck;
  /** Notes an Event of the Pod. */
  readonly event: (type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly secret: (name: string) => Secret | undefined;
};

/** Pulls that failed, by image; belongs to one Pod. */
export type PullBackoffs = Map<
  string,
  { readonly backoff: Backoff; readonly untilMs: number; readonly message: string }
>;

/**
 * Makes the container's image present as its imagePullPolicy says, and returns it. Throws ImageError.
 * A deviation from Kubernetes: with policy Always an image that is here is used when its registry is out of reach, and an
 * Event says so; without it a machine without a network could not run `image: caddy` at all.
 */
export async function ensureImage(
  deps: ImageDeps,
  pod: Pod,
  container: Container,
  sandboxConfig: Partially<PodSandboxConfig>,
  backoffs: PullBackoffs,
  signal: AbortSignal,
): Promise<CriImage> {
  const name = container.image ?? '';
  const policy = container.imagePullPolicy ?? pullPolicyDefault(name);
  const present = await imageStatus(deps.cri, name);
  if (present !== undefined && policy !== 'Always') {
    deps.event('Normal', 'Pulled', `Container image "${name}" already present on machine`);
    return present;
  }
  if (present !== undefined && !(await deps.registryReachable(name))) {
    const message = `Container image "${name}" already present on machine, used because its registry ${registryOf(name).host} cannot be reached`;
    deps.event('Normal', 'Pulled', message);
    return present;
  }
  if (policy === 'Never') {
    deps.event(
      'Warning',
      'ErrImageNeverPull',
      `Container image "${name}" is not present with pull policy of Never`,
    );
    const retryAtMs = deps.clock.nowMs() + restartBackoff.firstMs;
    throw new ImageError(
      'ErrImageNeverPull',
      `Container image "${name}" is not present with pull policy of Never`,
      retryAtMs,
    );
  }
  return pull(deps, pod, name, sandboxConfig, backoffs, signal);
}

function pullPolicyDefault(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1);
  return last.includes('@') || (last.includes(':') && !last.endsWith(':latest')) ? 'IfNotPresent' : 'Always';
}

async function imageStatus(cri: Cri, name: string): Promise<CriImage | undefined> {
  return (await cri.imageStatus({ image: { image: name } })).image;
}

async function pull(
  deps: ImageDeps,
  pod: Pod,
  name: string,
  sandboxConfig: Partially<PodSandboxConfig>,
  backoffs: PullBackoffs,
  signal: AbortSignal,
): Promise<CriImage> {
  const failed = backoffs.get(name);
  const startMs = deps.clock.nowMs();
  if (failed !== undefined && failed.untilMs > startMs) {
    deps.event('Normal', 'BackOff', `Back-off pulling image "${name}"`);
    const message = `Back-off pulling image "${name}": ${failed.message}`;
    throw new ImageError('ImagePullBackOff', message, failed.untilMs);
  }
  deps.event('Normal', 'Pulling', `Pulling image "${name}"`);
  try {
    const auth = credentialsFor(name, pod, deps.secret);
    await deps.cri.pullImage({ image: { image: name }, auth, sandboxConfig }, { signal });
    const image = await imageStatus(deps.cri, name);
    if (image === undefined) throw new Error(`image ${name} is not there although it was pulled`);
    backoffs.delete(name);
    const seconds = ((deps.clock.nowMs() - startMs) / 1000).toFixed(3);
    deps.event(
      'Normal',
      'Pulled',
      `Successfully pulled image "${name}" in ${seconds}s (${seconds}s including waiting). Image size: ${image.size} bytes.`,
    );
    return image;
  } catch (cause) {
    if (signal.aborted) throw cause;
    const text = cause instanceof Error ? cause.message : String(cause);
    const backoff = afterRestart(failed?.backoff, 0, restartBackoff);
    const untilMs = deps.clock.nowMs() + backoff.delayMs;
    backoffs.set(name, { backoff, untilMs, message: text });
    deps.event('Warning', 'Failed', `Failed to pull image "${name}": ${text}`);
    deps.event('Warning', 'Failed', 'Error: ErrImagePull');
    throw new ImageError('ErrImagePull', text, untilMs, { cause });
  }
}

type Credentials = { readonly username: string; readonly password: string; readonly serverAddress: string };

/** The first credential of the Pod's imagePullSecrets for the image's registry. */
function credentialsFor(
  image: string,
  pod: Pod,
  secret: (name: string) => Secret | undefined,
): Credentials | undefined {
  const { host } = registryOf(image);
  const wanted =
    host === 'registry-1.docker.io'
      ? ['docker.io', 'index.docker.io', host]
      : [host, image.split('/')[0] ?? host];
  for (const { name } of pod.spec?.imagePullSecrets ?? []) {
    const encoded = name === undefined ? undefined : secret(name)?.data?.['.dockerconfigjson'];
    if (encoded === undefined) continue;
    for (const [server, entry] of dockerAuths(encoded)) {
      const address = server.replace(/^https?:\/\//, '').split('/')[0] ?? '';
      if (wanted.includes(address)) return { ...entry, serverAddress: server };
    }
  }
  return undefined;
}

function dockerAuths(
  encoded: string,
): readonly (readonly [string, { username: string; password: string }])[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(encoded, 'base64').toString());
    const auths = isJsonObject(parsed) ? parsed['auths'] : undefined;
    if (!isJsonObject(auths)) return [];
    return Object.entries(auths).flatMap(([server, entry]) => {
      if (!isJsonObject(entry)) return [];
      const both = typeof entry['auth'] === 'string' ? Buffer.from(entry['auth'], 'base64').toString() : '';
      const colon = both.indexOf(':');
      const username = entry['username'] ?? both.slice(0, colon);
      const password = entry['password'] ?? both.slice(colon + 1);
      return typeof username === 'string' && typeof password === 'string'
        ? [[server, { username, password }] as const]
        : [];
    });
  } catch {
    return []; // a Secret that is no docker configuration gives no credentials; the pull then says what is missing
  }
}
