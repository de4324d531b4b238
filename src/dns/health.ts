import type { ServerResponse } from 'node:http';
import {
  answerText,
  type Exposition,
  type HealthAddress,
  type HealthServer,
  listenForHealth,
} from '../base/health-server.ts';

export type HealthSources = {
  /** All names are known: queries get their final answers. */
  ready(): boolean;
  createRegistry(): Promise<Exposition>;
  /** The table as text. */
  records(): Iterable<string>;
};

/** Serves /healthz, /livez, /readyz, /metrics and /debug/records until `close`. Rejects when it cannot listen. */
export function serveHealth(address: HealthAddress, sources: HealthSources): Promise<HealthServer> {
  return listenForHealth(
    address,
    () => sources.createRegistry(),
    (path, response) => respond(path, sources, response),
  );
}

function respond(path: string, sources: HealthSources, response: ServerResponse): void {
  const text = (status: number, body: string): void => answerText(response, status, body);
  switch (path) {
    case '/healthz':
    case '/livez':
    case '/health': // CoreDNS' path
      text(200, 'ok');
      return;
    case '/readyz':
    case '/ready': {
      const ready = sources.ready();
      text(ready ? 200 : 503, ready ? 'ok' : 'not all names are known yet');
      return;
    }
    case '/debug/records':
      text(200, [...sources.records()].join(''));
      return;
    default:
      text(404, 'try /healthz, /readyz, /metrics or /debug/records\n');
  }
}
