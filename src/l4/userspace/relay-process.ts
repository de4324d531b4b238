/** The relay's process: what it should serve comes as lines of JSON on standard input, answers go out as lines. Ends with its input. */
import { readSync, writeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { parseCidr } from '../../base/ip.ts';
import { Balancer } from './balance.ts';
import type { Front } from './fronts.ts';
import { RelayKernel } from './relay-kernel.ts';
import { chunkBytes, RelayLoop } from './relay-loop.ts';

/** A front as JSON: ranges as text, no list of those that still serve. */
export type RelayFront = Omit<Front, 'sourceRanges' | 'serving'> & {
  readonly sourceRanges: readonly string[];
};

export type RelayRequest =
  | { readonly op: 'listen'; readonly front: RelayFront }
  | { readonly op: 'update'; readonly front: RelayFront }
  | { readonly op: 'close'; readonly id: string }
  | { readonly op: 'inside'; readonly ranges: readonly string[] };

/** Answer to `listen`; `error` is a name such as EADDRINUSE. The first line of all has no id: the relay works, or why not. */
export type RelayReply = { readonly id?: string; readonly error?: string };

/** A longer line would be of a Service with some 10,000 endpoints; its front is not served here, which ends the process. */
const lineBytesMax = 4 << 20;
const controlDescriptor = 0;
const readBytes = 65_536;

/** Serves until standard input ends; never gives the event loop a turn. */
export function runRelayProcess(): void {
  const answer = (reply: RelayReply): void => void writeSync(1, `${JSON.stringify(reply)}\n`);
  let kernel: RelayKernel;
  try {
    kernel = new RelayKernel(chunkBytes);
  } catch (error) {
    answer({ error: String(error) });
    return;
  }
  const nowMs = (): number => performance.now();
  const state = { balancer: new Balancer(Math.random, nowMs), inside: [] as Front['sourceRanges'] };
  const loop = new RelayLoop(kernel, state, nowMs, controlDescriptor);
  const listeners = new Map<string, number>();
  const follow = (request: RelayRequest): void => {
    switch (request.op) {
      case 'listen': {
        const listener = loop.listen(frontOf(request.front));
        if (listener >= 0) listeners.set(request.front.id, listener);
        const { id } = request.front;
        answer(listener >= 0 ? { id } : { id, error: getSystemErrorName(listener) });
        return;
      }
      case 'update': {
        const listener = listeners.get(request.front.id);
        if (listener !== undefined) loop.update(listener, frontOf(request.front));
        return;
      }
      case 'close': {
        const listener = listeners.get(request.id);
        if (listener !== undefined) loop.close(listener);
        listeners.delete(request.id);
        return;
      }
      default:
        state.inside = request.ranges.flatMap((text) => parseCidr(text) ?? []);
    }
  };
  const input = createLineReader((line) => follow(JSON.parse(line) as RelayRequest));
  answer({});
  while (!input.ended) loop.turn(() => input.read());
}

function frontOf({ sourceRanges, ...front }: RelayFront): Front {
  // One list for both where they are equal: the loop need not ask then who the client is.
  const same = JSON.stringify(front.inside) === JSON.stringify(front.outside);
  return {
    ...front,
    outside: same ? front.inside : front.outside,
    sourceRanges: sourceRanges.flatMap((text) => parseCidr(text) ?? []),
    serving: new Set(), // TCP connections stay with their endpoint, serving or not
  };
}

/** Reads standard input when it is known to have something. */
function createLineReader(onLine: (line: string) => void): { readonly ended: boolean; read(): void } {
  const chunk = Buffer.alloc(readBytes);
  let parts: Buffer[] = [];
  let bytes = 0;
  let ended = false;
  return {
    get ended() {
      return ended;
    },
    read() {
      const count = readSync(controlDescriptor, chunk);
      ended = count === 0;
      let from = 0;
      for (;;) {
        const end = chunk.subarray(0, count).indexOf(10, from);
        if (end < 0) break;
        onLine(Buffer.concat([...parts, chunk.subarray(from, end)]).toString('utf8'));
        parts = [];
        bytes = 0;
        from = end + 1;
      }
      parts.push(Buffer.from(chunk.subarray(from, count)));
      bytes += count - from;
      if (bytes > lineBytesMax) throw new Error(`a line of more than ${lineBytesMax} bytes`);
    },
  };
}
