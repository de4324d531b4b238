/** A worker of the ingress on a network and a clock of the test's own. */
import type { TestContext } from 'node:test';
import { objectKey } from '../../src/api/object.ts';
import { defaultBalance } from '../../src/l7/balance/balance-policy.ts';
import { defaultLimits, type ProxyLimits } from '../../src/l7/proxy/limits.ts';
import { ProxyWorker } from '../../src/l7/proxy/proxy-worker.ts';
import { emptyRouteTable, type Route } from '../../src/l7/routes/table.ts';
import type { Connection, ConnectionHandler } from '../../src/l7/transport/transport.ts';
import { FakeClock } from './fake-clock.ts';

const route: Route = {
  ingress: objectKey('default', 'web'),
  host: '',
  path: '/',
  pathType: 'Prefix',
  pattern: undefined,
  backend: 0,
  policy: undefined,
};

/** The near end of a connection. */
export class Wire implements Connection {
  readonly remoteAddress = '192.0.2.1';
  /** What `write` says. */
  flowing = true;
  ended = false;
  destroyed = false;
  #bytes = Buffer.alloc(0);

  write(data: Buffer | string): boolean {
    const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    return this.flowing;
  }

  end(): void {
    this.ended = true;
  }

  destroy(): void {
    this.destroyed = true;
  }

  pause(): void {}

  resume(): void {}

  /** What was written since the last time. */
  take(): Buffer {
    const bytes = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    return bytes;
  }

  takeText(): string {
    return this.take().toString('latin1');
  }
}

/** The far end: what the worker has written, and what it is told. */
export type End = { readonly wire: Wire; readonly handler: ConnectionHandler };

export function send({ handler }: End, text: string): void {
  handler.onData(Buffer.from(text, 'latin1'));
}

/** A worker with one endpoint; connections to it are made at once. */
export function startWorker(
  t: TestContext,
  limits: Partial<ProxyLimits>,
  protocol: 'http1' | 'http2' = 'http1',
) {
  const clock = new FakeClock();
  const upstreams: End[] = [];
  const transport = {
    connect(_address: string, _port: number, handler: ConnectionHandler) {
      const wire = new Wire();
      upstreams.push({ wire, handler });
      queueMicrotask(() => handler.onConnect(''));
      return wire;
    },
  };
  const worker = new ProxyWorker(transport, clock, {
    limits: { ...defaultLimits, ...limits },
    isTrusted: () => false,
  });
  const backend = {
    id: 'default/web:80',
    key: 'default/web:80',
    index: 0,
    endpoints: [{ address: '10.0.0.1', port: 80 }],
    tls: undefined,
    protocol,
    answer: undefined,
    balance: defaultBalance,
  };
  worker.publish({ ...emptyRouteTable, backends: [backend], defaultRoute: route });
  t.after(() => worker.close());
  const open = (): End | undefined => {
    const wire = new Wire();
    const handler = worker.accept(wire, { scheme: 'http', protocol: '' });
    return handler === undefined ? undefined : { wire, handler };
  };
  /** Opens a connection and sends a request; its endpoint's end is the last of `upstreams`, or a kept one. */
  const ask = async (text: string): Promise<End> => {
    const client = open()!;
    send(client, text);
    await clock.advance(0);
    return client;
  };
  return { clock, worker, upstreams, open, ask };
}
