import { boolAt, jsonEqual, listAt, stringAt, stringsAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { internalError } from '../api/status.ts';
import type { BodyKind } from './admission-request.ts';
import type { ApiContext, Target } from './context.ts';
import { admitBody } from './dynamic-admission.ts';
import { isTrue, proxyPath } from './request-info.ts';

/** Connections – exec, attach, port-forward, proxy – as admission sees them: operation CONNECT with an options object. */

const optionsKinds: Readonly<Record<string, string>> = {
  exec: 'PodExecOptions',
  attach: 'PodAttachOptions',
  portforward: 'PodPortForwardOptions',
};

const streamFlags = ['stdin', 'stdout', 'stderr', 'tty'] as const;

/** Throws StatusError when the connection is denied. What a webhook changes in the options counts for the connection. */
export async function admitConnection(context: ApiContext, target: Target): Promise<void> {
  const kind = optionsKinds[target.subresource] ?? `${target.kind.kind}ProxyOptions`;
  const identity: BodyKind = { group: '', version: 'v1', kind, schema: `core/v1.${kind}` };
  const asked = optionsOf(target, kind);
  const options = await admitBody(context, target, 'CONNECT', identity, asked);
  if (options === asked) return;
  if (target.subresource === 'proxy') {
    if (jsonEqual(options, asked)) return;
    throw internalError('a webhook changed the options of a proxy request, which this server cannot follow');
  }
  rewriteQuery(target, options);
}

function optionsOf(target: Target, kind: string): JsonObject {
  const { query, path } = target.request;
  const identity = { kind, apiVersion: 'v1' };
  switch (target.subresource) {
    case 'proxy':
      return { ...identity, path: proxyPath(path) };
    case 'portforward': {
      const ports = query.getAll('ports').flatMap((text) => text.split(',').map(Number));
      return ports.length === 0 ? identity : { ...identity, ports };
    }
    default: {
      const container = query.get('container') ?? '';
      const command = query.getAll('command');
      return {
        ...identity,
        ...Object.fromEntries(
          streamFlags.filter((flag) => isTrue(query.get(flag))).map((flag) => [flag, true]),
        ),
        ...(container === '' ? {} : { container }),
        ...(command.length === 0 ? {} : { command }),
      };
    }
  }
}

function rewriteQuery(target: Target, options: JsonObject): void {
  const { query } = target.request;
  if (target.subresource === 'portforward') {
    query.delete('ports');
    for (const port of listAt(options, 'ports')) {
      if (typeof port === 'number') query.append('ports', String(port));
    }
    return;
  }
  for (const flag of streamFlags) query.set(flag, String(boolAt(options, flag)));
  query.set('container', stringAt(options, 'container'));
  query.delete('command');
  for (const part of stringsAt(options, 'command')) query.append('command', part);
}
