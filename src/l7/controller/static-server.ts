import { readFile, watch } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { aborted } from '../../base/lifetime.ts';
import type { Logger } from '../../base/log.ts';
import { UserError } from '../../base/user-error.ts';
import { parseStaticRoutes, withCertificates } from './static-config.ts';
import { viewOf } from './listed-view.ts';
import type { IngressView } from '../routes/compile.ts';
import type { Watched } from './watched.ts';

/** Least time from one reading to the next, ms: a log that somebody writes beside the file must not keep us busy. */
const readGapMs = 100;

/**
 * A routes file as a source of routes. It is read again when anything in its folder changes, so certificates that lie beside
 * it are followed too; one that cannot be read or is bad leaves the routes as they are, and is logged.
 */
export async function watchStaticFile(
  path: string,
  log: Logger,
): Promise<{ watched(onChange: () => void): Watched }> {
  const file = resolve(path);
  let version = 0;
  let view = await loadStaticView(file, version);
  let changed = Promise.withResolvers<void>();
  const listen = async (signal: AbortSignal): Promise<void> => {
    try {
      for await (const _ of watch(dirname(file), { signal })) changed.resolve();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  const follow = async (signal: AbortSignal, onChange: () => void): Promise<void> => {
    while (!signal.aborted) {
      await Promise.race([changed.promise, aborted(signal)]);
      if (signal.aborted) return;
      changed = Promise.withResolvers();
      version += 1;
      try {
        view = await loadStaticView(file, version);
        onChange();
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        log.warn(`${basename(file)} is not used: the routes stay as they were`, { error });
      }
      await systemClock.sleep(readGapMs, signal).catch(() => {}); // aborted: the loop ends
    }
  };
  return {
    watched: (onChange) => ({
      // The newest view each time: its members are looked up again for every compile.
      view: {
        get ingressClasses() {
          return view.ingressClasses;
        },
        get ingresses() {
          return view.ingresses;
        },
        service: (key) => view.service(key),
        slices: (key) => view.slices(key),
        secret: (key) => view.secret(key),
        staticResponse: (key) => view.staticResponse(key),
        configMap: (key) => view.configMap(key),
        parameters: (key) => view.parameters(key),
      },
      tasks: [
        { name: 'routes folder', run: listen },
        { name: 'routes file', run: (signal) => follow(signal, onChange) },
      ],
      whenSynced: () => Promise.resolve(),
    }),
  };
}

async function loadStaticView(file: string, version: number): Promise<IngressView> {
  const { parse } = await import('yaml');
  const text = (await read(file)).toString('utf8');
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new UserError(
      `${file} is not valid YAML: ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
  const routes = parseStaticRoutes(document);
  const contents = await Promise.all(
    routes.certificates.map(async ({ certFile, keyFile }) => ({
      cert: await read(resolve(dirname(file), certFile)),
      key: await read(resolve(dirname(file), keyFile)),
    })),
  );
  return viewOf(withCertificates(routes, contents, String(version)));
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new UserError(`cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
