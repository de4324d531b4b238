/** Constant, bounded load over HTTP, with every failure kept. */
import { Agent, request } from 'node:http';

export type LoadResult = {
  readonly requests: number;
  readonly failures: readonly string[];
  /** How often each value of the asked header (or the body's first line) was seen. */
  readonly servedBy: ReadonlyMap<string, number>;
};

export type LoadOptions = {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Requests in flight at any time. Default 4. */
  readonly concurrency?: number;
  /** One connection per worker, reused; otherwise a new connection for each request. */
  readonly keepAlive: boolean;
  /** Response header that names the server. Default x-pod. */
  readonly nameHeader?: string;
  /** The load ends by itself after this many requests. Default 200,000. */
  readonly requestsMax?: number;
};

export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

/** One GET; rejects when the connection fails or the answer is cut short. */
export function get(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  agent?: Agent,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { headers, agent: agent ?? new Agent({ keepAlive: false }), timeout: 60_000 },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within a minute')));
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Starts load; call the returned function to stop it and learn how it went. */
export function startLoad(options: LoadOptions): () => Promise<LoadResult> {
  const agent = new Agent({ keepAlive: options.keepAlive, maxSockets: options.concurrency ?? 4 });
  const failures: string[] = [];
  const servedBy = new Map<string, number>();
  let requests = 0;
  let stopping = false;
  async function worker(): Promise<void> {
    while (!stopping && requests < (options.requestsMax ?? 200_000)) {
      requests += 1;
      try {
        const answer = await get(options.url, options.headers, agent);
        if (answer.status !== 200) failures.push(`${answer.status} ${answer.body.slice(0, 200)}`);
        const name = String(answer.headers[options.nameHeader ?? 'x-pod'] ?? answer.body.split('\n')[0]);
        servedBy.set(name, (servedBy.get(name) ?? 0) + 1);
      } catch (error) {
        failures.push(String(error));
      }
    }
  }
  const workers = Array.from({ length: options.concurrency ?? 4 }, worker);
  return async () => {
    stopping = true;
    await Promise.all(workers);
    agent.destroy();
    return { requests, failures, servedBy };
  };
}
