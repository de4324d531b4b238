import { connect } from 'node:net';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';

export type Endpoint = { readonly host: string; readonly port: number };

/** Host and port of an image's registry. Docker Hub's own name differs from the one that images carry. */
export function registryOf(image: string): Endpoint {
  const first = image.split('/')[0] ?? '';
  const isHost = image.includes('/') && (/[.:]/.test(first) || first === 'localhost');
  const name = isHost && first !== 'docker.io' ? first : 'registry-1.docker.io';
  const colon = name.lastIndexOf(':');
  if (colon === -1) return { host: name, port: 443 };
  return { host: name.slice(0, colon), port: Number(name.slice(colon + 1)) };
}

/** The folder of the image's registry below containerd's `config_path`. */
export function registryFolder(image: string): string {
  const { host, port } = registryOf(image);
  if (host === 'registry-1.docker.io') return 'docker.io';
  return port === 443 ? host : `${host}:${port}`;
}

/**
 * Where a pull may go, with what the registry's hosts.toml says ('' without one): the mirrors, and the registry itself or
 * what `server` puts in its place. Only URLs are read here; whether the file is right, containerd says at the pull.
 */
export function pullEndpoints(image: string, hostsToml: string): readonly Endpoint[] {
  const found = [...hostsToml.matchAll(/^\s*(\[host\.|server\s*=\s*)["']([^"']+)["']/gm)];
  const endpoints = found.flatMap(([, , url = '']) => {
    const parsed = URL.parse(url.includes('://') ? url : `https://${url}`);
    if (parsed === null) return [];
    const port = parsed.port === '' ? (parsed.protocol === 'http:' ? 80 : 443) : Number(parsed.port);
    return [{ host: parsed.hostname.replace(/^\[|\]$/g, ''), port }];
  });
  const isReplaced = found.some(([, what = '']) => what.startsWith('server'));
  return isReplaced ? endpoints : [...endpoints, registryOf(image)];
}

export type RegistryCheck = (image: string) => Promise<boolean>;

/** How long the registry may take to accept a connection before it counts as out of reach, ms. */
const connectTimeoutMs = 1_000;
/** How long a registry that was out of reach is taken to be still so, ms: waiting for it is what costs. */
const rememberDownMs = 30_000;
/** The same for one that was reached; bridges the start of many Pods at once. */
const rememberUpMs = 1_000;
/** Registries remembered; past it all are forgotten. */
const rememberedMax = 64;

/**
 * Tells whether an image's registry or one of its mirrors can be reached, through `proxy` where there is one. Asked before an
 * image that is here already is pulled again, so that a machine without a network does not wait for the runtime's long timeouts.
 */
export function createRegistryCheck(
  proxy: string | undefined,
  registriesDir: string,
  clock: Clock,
): RegistryCheck {
  const known = new Map<string, { untilMs: number; readonly reachable: Promise<boolean> }>();
  const anyReachable = async (image: string): Promise<boolean> => {
    const hostsToml = await readFile(join(registriesDir, registryFolder(image), 'hosts.toml'), 'utf8').catch(
      () => '', // the usual case: no mirrors
    );
    const answers = await Promise.all(
      pullEndpoints(image, hostsToml).map(({ host, port }) => tryConnect(host, port, proxy)),
    );
    return answers.includes(true);
  };
  return async (image) => {
    const key = registryFolder(image);
    const remembered = known.get(key);
    if (remembered !== undefined && remembered.untilMs > clock.monotonicMs()) return remembered.reachable;
    if (known.size >= rememberedMax) known.clear();
    const entry = { untilMs: clock.monotonicMs() + rememberDownMs, reachable: anyReachable(image) };
    known.set(key, entry);
    if (await entry.reachable) entry.untilMs = clock.monotonicMs() + rememberUpMs;
    return entry.reachable;
  };
}

function tryConnect(host: string, port: number, proxy: string | undefined): Promise<boolean> {
  const via = proxy === undefined ? undefined : new URL(proxy);
  const target =
    via === undefined
      ? { host, port }
      : { host: via.hostname.replace(/^\[|\]$/g, ''), port: Number(via.port === '' ? '80' : via.port) };
  return new Promise((resolve) => {
    const socket = connect(target);
    const finish = (reachable: boolean) => {
      socket.destroy();
      resolve(reachable);
    };
    socket.setTimeout(connectTimeoutMs, () => finish(false));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
    socket.once('connect', () => {
      if (via === undefined) finish(true);
      else socket.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
    });
    socket.once('data', (data: Buffer) => finish(/^HTTP\/1\.[01] 2/.test(data.toString('latin1'))));
  });
}
