import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { formatCidr } from '../../base/ip.ts';
import type { Logger } from '../../base/log.ts';
import type { Front, InsideRanges } from './fronts.ts';
import type { RelayReply, RelayRequest } from './relay-process.ts';

/** A process beside us that carries TCP connections (relay-loop.ts). */
export type Relay = {
  /** Rejects with why it cannot listen, such as EADDRINUSE. */
  listen(front: Front): Promise<void>;
  update(front: Front): void;
  close(id: string): void;
  inside(ranges: InsideRanges): void;
  /** Ends the process and its connections. */
  end(): Promise<void>;
};

/** Between the end of a relay that nobody asked for and the next one, ms. */
const restartAfterMs = 500;

type Running = {
  readonly child: ChildProcessWithoutNullStreams;
  /** Those that wait for an answer, by front. */
  readonly waiting: Map<string, (reply: RelayReply) => void>;
};

/** Starts `command`; rejects when it cannot work on this machine. One that ends later is started again, with the same fronts. */
export async function openRelay(command: readonly string[], log: Logger): Promise<Relay> {
  const fronts = new Map<string, Front>();
  let inside: readonly string[] = [];
  let ending = false;
  let running = await start(command);

  const tell = (request: RelayRequest): void =>
    void running.child.stdin.write(`${JSON.stringify(request)}\n`);
  const ask = (front: Front): Promise<void> =>
    new Promise((resolve, reject) => {
      running.waiting.set(front.id, ({ error }) =>
        error === undefined ? resolve() : reject(new Error(`listen ${error}`)),
      );
      tell({ op: 'listen', front: plain(front) });
    });
  const watch = ({ child, waiting }: Running): void => {
    child.once('close', (code, signal) => {
      for (const answer of waiting.values()) answer({ error: 'the relay ended' });
      if (!ending) void restart(`${code ?? signal}`);
    });
  };
  async function restart(why: string): Promise<void> {
    log.error('the process that carries TCP connections ended, starting it again', { why });
    await new Promise((resolve) => setTimeout(resolve, restartAfterMs));
    if (ending) return;
    try {
      running = await start(command);
    } catch (error) {
      await restart(String(error));
      return;
    }
    watch(running);
    tell({ op: 'inside', ranges: inside });
    for (const front of fronts.values()) {
      ask(front).catch((error: unknown) => log.error(`cannot listen at ${front.id} again`, { error }));
    }
  }

  watch(running);
  return {
    async listen(front) {
      await ask(front);
      fronts.set(front.id, front);
    },
    update(front) {
      fronts.set(front.id, front);
      tell({ op: 'update', front: plain(front) });
    },
    close(id) {
      fronts.delete(id);
      tell({ op: 'close', id });
    },
    inside(ranges) {
      const texts = ranges.map(formatCidr);
      if (texts.join() === inside.join()) return;
      inside = texts;
      tell({ op: 'inside', ranges: texts });
    },
    async end() {
      ending = true;
      const { child } = running;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.stdin.end();
      await ended;
    },
  };
}

function plain({ serving: _serving, sourceRanges, ...front }: Front) {
  return { ...front, sourceRanges: sourceRanges.map(formatCidr) };
}

/** Resolves once the process says that it works. */
function start([program = '', ...args]: readonly string[]): Promise<Running> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const waiting = new Map<string, (reply: RelayReply) => void>();
  const errors: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => {
    if (errors.length < 16) errors.push(chunk);
  });
  child.stdin.on('error', () => {}); // it has ended: `close` tells
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error(Buffer.concat(errors).toString().trim())));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const reply = JSON.parse(line) as RelayReply;
      if (reply.id !== undefined) {
        waiting.get(reply.id)?.(reply);
        waiting.delete(reply.id);
      } else if (reply.error === undefined) resolve({ child, waiting });
      else reject(new Error(reply.error));
    });
  });
}
