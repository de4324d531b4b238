import type { Http2Session } from './http2-session.ts';
import type { Connection } from '../transport/transport.ts';

/** Bytes that gather before they are handed to the network within a turn; else they leave at its end, all in one. */
const flushBytes = 65_536;

/** What a session has to send, on its way to a connection: once a turn, and told to wait when the network takes no more. */
export class Http2Link {
  readonly #session: Http2Session;
  readonly #connection: Connection;
  #scheduled = false;
  readonly #flushLater = (): void => {
    this.#scheduled = false;
    this.flush();
  };

  constructor(session: Http2Session, connection: Connection) {
    this.#session = session;
    this.#connection = connection;
    // A connection that copies gathers by itself: what is large need not be copied twice.
    if (connection.copies === true) session.send.straight = (payload) => this.#writeStraight(payload);
  }

  #writeStraight(payload: Buffer): void {
    this.flush();
    if (!this.#connection.write(payload)) this.#session.send.blocked = true;
  }

  /** Something was written: it leaves with the end of this turn. */
  schedule(): void {
    if (this.#session.send.out.length >= flushBytes) this.flush();
    else if (!this.#scheduled) {
      this.#scheduled = true;
      if (this.#connection.atTurnEnd === undefined) queueMicrotask(this.#flushLater);
      else this.#connection.atTurnEnd(this.#flushLater);
    }
  }

  flush(): void {
    const { send } = this.#session;
    const bytes = send.out.take();
    if (bytes === undefined) return;
    if (!this.#connection.write(bytes)) send.blocked = true;
    if (this.#connection.keepsNothing === true) send.out.recycle();
  }

  onDrain(): void {
    this.#session.unblock();
    this.flush();
  }
}
