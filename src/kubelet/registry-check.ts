import { connect } from 'node:net';
import type { Clock } from '../base/clock.ts';

/** Host and port of an image's registry. Docker Hub's own name differs from the one that images carry. */
export function registryOf(image: string): { readonly host: string; readonly port: number } {
  const first = image.split('/')[0] ?? '';
  const isHost = image.includes('/') && (/[.:]/.test(first) || first === 'localhost');
  const name = isHost && first !== 'docker.io' ? first : 'registry-1.docker.io';
  const colon = name.lastIndexOf(':');
  if (colon === -1) return { host: name, port: 443 };
  return { host: name.slice(0, colon), port: Number(name.slice(colon + 1)) };
}

export type RegistryCheck = (image: string) => Promise<boolean>;

/** How long the registry may take to accept a connection before it counts as out of reach, ms. */
const connectTimeoutMs = 1_000;
/** How long an answer is taken as still true, ms. */
const rememberMs = 30_000;
/** Registries remembered; past it all are forgotten. */
const rememberedMax = 64;

/**
 * Tells whether an image's registry can be reached, through `proxy` where there is one. Asked before an image that is
 * here already is pulled again, so that a machine without a network does not wait for the runtime's long timeouts.
 */
export function createRegistryCheck(proxy: string | undefined, clock: Clock): RegistryCheck {
  const known = new Map<string, { readonly untilMs: number; readonly reachable: Promise<boolean> }>();
  return (image) => {
    const { host, port } = registryOf(image);
    const key = `${host}:${port}`;
    const remembered = known.get(key);
    if (remembered !== undefined && remembered.untilMs > clock.monotonicMs()) return remembered.reachable;
    if (known.size >= rememberedMax) known.clear();
    const reachable = tryConnect(host, port, proxy);
    known.set(key, { untilMs: clock.monotonicMs() + rememberMs, reachable });
    return reachable;
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
