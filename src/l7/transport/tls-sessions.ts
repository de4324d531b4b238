/** Endpoints whose last session is remembered. The oldest is forgotten: its next handshake is a whole one. */
export const sessionsMax = 1024;

/** The last TLS session by endpoint, for the connections of one ConnectTls. */
export class TlsSessions {
  readonly #sessions = new Map<string, Buffer>(); // in the order of their coming

  of(place: string): Buffer | undefined {
    return this.#sessions.get(place);
  }

  remember(place: string, session: Buffer): void {
    this.#sessions.delete(place);
    this.#sessions.set(place, session);
    const oldest = this.#sessions.keys().next();
    if (this.#sessions.size > sessionsMax && oldest.done !== true) this.#sessions.delete(oldest.value);
  }
}
