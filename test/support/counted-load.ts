import assert from 'node:assert/strict';

export type CountedLoad = {
  readonly counts: { sent: number; good: number; readonly failures: string[] };
  /** Resolves when so many more requests are answered, or when one was lost: `stop` then tells. */
  more(count: number): Promise<void>;
  /** Ends the clients; throws if any request was lost. */
  stop(): Promise<void>;
};

/**
 * Requests without a pause from some clients, each counted.
 * @param ask one request: rejects for one that is lost, false or text for a bad answer
 */
export function countedLoad(ask: () => Promise<boolean | string>, clients = 8): CountedLoad {
  const counts = { sent: 0, good: 0, failures: [] as string[] };
  let stopped = false;
  const client = async (): Promise<void> => {
    while (!stopped) {
      counts.sent += 1;
      const told = await ask().catch(String);
      if (told === true) counts.good += 1;
      else counts.failures.push(told === false ? 'a bad answer' : told);
    }
  };
  const running = Promise.all(Array.from({ length: clients }, client));
  return {
    counts,
    async more(count) {
      const wanted = counts.good + count;
      while (counts.good < wanted && counts.failures.length === 0) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    async stop() {
      stopped = true;
      await running;
      assert.deepEqual(counts.failures.slice(0, 5), []);
      assert.equal(counts.good, counts.sent);
    },
  };
}
