import type { Backend, Front } from './fronts.ts';

/** Clients with session affinity that are remembered. At the bound new ones are balanced without memory. */
export const clientsMax = 65_536;

type Choice = { readonly backend: string; readonly untilMs: number };

/** Draws endpoints and remembers clients with session affinity, each for its time since its last new connection. */
export class Balancer {
  readonly #random: () => number;
  readonly #nowMs: () => number;
  readonly #clients = new Map<string, Choice>();

  constructor(random: () => number, nowMs: () => number) {
    this.#random = random;
    this.#nowMs = nowMs;
  }

  /** At most `countMax` of `backends`, in the order to try them: the remembered one, then from a random one on. */
  order(front: Front, client: string, backends: readonly Backend[], countMax: number): readonly Backend[] {
    const { length } = backends;
    const chosen: Backend[] = [];
    const remembered = this.#remembered(front, client);
    const first =
      remembered === undefined ? undefined : backends.find((backend) => textOf(backend) === remembered);
    if (first !== undefined) chosen.push(first);
    const start = Math.floor(this.#random() * length);
    for (let index = 0; index < length && chosen.length < countMax; index++) {
      const backend = backends[(start + index) % length];
      if (backend !== undefined && backend !== first) chosen.push(backend);
    }
    return chosen;
  }

  /** The client was led there. */
  remember(front: Front, client: string, backend: Backend): void {
    if (front.affinityTimeoutSeconds === undefined) return;
    const key = `${front.id} ${client}`;
    if (!this.#clients.has(key) && this.#clients.size >= clientsMax) this.#dropExpired();
    if (!this.#clients.has(key) && this.#clients.size >= clientsMax) return;
    const untilMs = this.#nowMs() + front.affinityTimeoutSeconds * 1000;
    this.#clients.set(key, { backend: textOf(backend), untilMs });
  }

  #remembered(front: Front, client: string): string | undefined {
    if (front.affinityTimeoutSeconds === undefined) return undefined;
    const choice = this.#clients.get(`${front.id} ${client}`);
    return choice === undefined || choice.untilMs <= this.#nowMs() ? undefined : choice.backend;
  }

  #dropExpired(): void {
    const nowMs = this.#nowMs();
    for (const [key, { untilMs }] of this.#clients) if (untilMs <= nowMs) this.#clients.delete(key);
  }
}

function textOf(backend: Backend): string {
  return `${backend.address} ${backend.port}`;
}
