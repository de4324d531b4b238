/**
 * A service proxy inside one node of the L4 test network, with an API server in memory that standard input fills: one JSON
 * object a line, both ways. Its complaints go to standard error. Arguments: node name, and the proxy’s mode or
 * `userspace-here` for userspace without the relay’s process.
 */
import { createInterface } from 'node:readline';
import type { Json, KubeObject } from '../../src/api/object.ts';
import { endpointSlices, nodes, type Resource, services } from '../../src/api/resource.ts';
import { type Logger, silentLogger } from '../../src/base/log.ts';
import { proxyDefaults, type ProxyMode } from '../../src/l4/config.ts';
import { runProxy } from '../../src/l4/run.ts';
import { runRelayProcess } from '../../src/l4/userspace/relay-process.ts';
import { FakeApi } from '../support/fake-api.ts';
import { seedNodes } from './l4-proxy.ts';

const kinds = { services, endpointslices: endpointSlices, nodes } as const;
export type NodeKind = keyof typeof kinds;

export type NodeRequest =
  /** Answered with `{"ready":true}` once the rules follow. */
  | { readonly op: 'start' }
  | { readonly op: 'put'; readonly kind: NodeKind; readonly object: KubeObject }
  | { readonly op: 'update'; readonly kind: NodeKind; readonly key: string; readonly patch: Json }
  | { readonly op: 'remove'; readonly kind: NodeKind; readonly key: string }
  /** Asks the health port of the proxy; answered with `NodeReply`. */
  | { readonly op: 'get'; readonly id: number; readonly path: string };

export type NodeReply = { readonly id: number; readonly status: number; readonly text: string };

const healthAddress = { host: '127.0.0.1', port: 10256 };

/** Messages of information that tests wait for go out, too. */
const log: Logger = {
  ...silentLogger,
  info: (message, fields) => {
    if (message === 'ready') process.stdout.write('{"ready":true}\n');
    else complain(`info: ${message}`, fields);
  },
  warn: complain,
  error: complain,
};

function complain(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  const { error, ...rest } = fields;
  const reason = error instanceof Error ? error.message : '';
  process.stderr.write(`${message} ${JSON.stringify(rest)} ${reason}\n`);
}

if (import.meta.main && process.argv[2] === 'proxy-relay') runRelayProcess();
else if (import.meta.main) {
  const [, script = '', nodeName = '', mode = 'auto'] = process.argv;
  const program = [process.execPath, ...process.execArgv, script];
  const api = new FakeApi();
  seedNodes(api);
  const stop = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const answer = (request: NodeRequest): void => {
    switch (request.op) {
      case 'put':
        api.seed(kinds[request.kind] as Resource, request.object);
        return;
      case 'update':
        api.update(kinds[request.kind] as Resource, request.key, request.patch);
        return;
      case 'remove':
        api.remove(kinds[request.kind], request.key);
        return;
      case 'get':
        void fetch(`http://127.0.0.1:${healthAddress.port}${request.path}`).then(async (response) => {
          const reply: NodeReply = { id: request.id, status: response.status, text: await response.text() };
          process.stdout.write(`${JSON.stringify(reply)}\n`);
        });
        return;
      case 'start':
        running = runProxy(
          {
            ...proxyDefaults,
            nodeName,
            mode: (mode === 'userspace-here' ? 'userspace' : mode) as ProxyMode,
            relayCommand: mode === 'userspace-here' ? undefined : [...program, 'proxy-relay'],
            clusterCidrs: ['10.42.0.0/16', 'fd42::/48'],
            serviceCidrs: ['10.43.0.0/16', 'fd43::/112'],
            healthAddress,
            resyncIntervalMs: 200,
          },
          api,
          log,
          stop.signal,
        );
    }
  };
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => answer(JSON.parse(line) as NodeRequest));
  lines.on('close', () => {
    stop.abort();
    void running.then(() => process.exit(0));
  });
}
