import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type HealthAddress = {
  readonly host: string;
  /** 0: any free port, for tests. */
  readonly port: number;
};

export type HealthServer = {
  readonly port: number;
  close(): void;
};

/** The part of a prom-client Registry that is needed to show it. */
export type Exposition = {
  readonly contentType: string;
  metrics(): Promise<string>;
};

/**
 * Serves /metrics and, by `answer`, every other path until `close`. The registry is made with the first look at it, since
 * its library costs start-up time. `answer` gets the path without its query and the whole target. Keeps no process alive.
 * Rejects when it cannot listen.
 */
export async function listenForHealth(
  address: HealthAddress,
  createRegistry: () => Promise<Exposition>,
  answer: (path: string, response: ServerResponse, target: string) => void,
): Promise<HealthServer> {
  let registry: Promise<Exposition> | undefined;
  const server = createServer((request, response) => {
    const target = request.url ?? '/';
    const path = target.replace(/\?.*/, '');
    if (path !== '/metrics') {
      answer(path, response, target);
      return;
    }
    registry ??= createRegistry();
    void answerMetrics(registry, response);
  });
  await listen(server, address);
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** A whole answer in plain text. */
export function answerText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(text);
}

function listen(server: Server, address: HealthAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const where = `${address.host}:${address.port}`;
      reject(new Error(`cannot serve health at ${where}: choose another --health-address`, { cause }));
    });
    server.listen(address.port, address.host, () => {
      server.unref();
      resolve();
    });
  });
}

async function answerMetrics(registry: Promise<Exposition>, response: ServerResponse): Promise<void> {
  try {
    const loaded = await registry;
    const text = await loaded.metrics();
    response.writeHead(200, { 'content-type': loaded.contentType });
    response.end(text);
  } catch (error) {
    answerText(response, 500, `${String(error)}\n`);
  }
}
