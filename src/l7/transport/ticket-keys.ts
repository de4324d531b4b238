import { createHmac } from 'node:crypto';

/** For how long tickets are made with one key. Older ones cost a whole handshake. */
const epochMs = 12 * 3_600_000;

/** What a process needs to make the same keys as another one. `secret`: 32 bytes. */
export type TicketSecret = { readonly epoch: number; readonly secret: Uint8Array };

/** A first secret of 32 random bytes. */
export function ticketSecret(random: Uint8Array, nowMs: number): TicketSecret {
  return { epoch: Math.floor(nowMs / epochMs), secret: random };
}

/**
 * Keys for TLS session tickets that all workers change at the same time without a word: each epoch's secret is made from the
 * one before, which is then forgotten. So what is in memory today opens no ticket, and thus no recorded connection, of
 * yesterday.
 */
export class TicketKeys {
  #epoch: number;
  #secret: Uint8Array;
  #keys: Buffer;

  constructor({ epoch, secret }: TicketSecret) {
    this.#epoch = epoch;
    this.#secret = secret;
    this.#keys = keysOf(secret);
  }

  /** 48 bytes; the same object as long as they are the same. A clock that goes back changes nothing. */
  current(nowMs: number): Buffer {
    const epoch = Math.floor(nowMs / epochMs);
    if (epoch <= this.#epoch) return this.#keys;
    while (this.#epoch < epoch) {
      this.#secret = derive(this.#secret, 'next epoch');
      this.#epoch += 1;
    }
    this.#keys = keysOf(this.#secret);
    return this.#keys;
  }

  /** For another process to go on from. */
  state(nowMs: number): TicketSecret {
    this.current(nowMs);
    return { epoch: this.#epoch, secret: this.#secret };
  }
}

/** As node:tls wants them: a name of 16 bytes, an HMAC key of 16, an AES key of 16. */
function keysOf(secret: Uint8Array): Buffer {
  return Buffer.concat([derive(secret, 'name').subarray(0, 16), derive(secret, 'keys')]);
}

function derive(secret: Uint8Array, label: string): Buffer {
  return createHmac('sha256', secret).update(label).digest();
}

/** The same keys at the length that OpenSSL itself wants them: a name of 16 bytes, an HMAC key of 32, an AES key of 32. */
export function ticketKeysOfOpenSsl(keys: Buffer): Buffer {
  const secret = keys.subarray(16);
  return Buffer.concat([keys.subarray(0, 16), derive(secret, 'hmac'), derive(secret, 'aes')]);
}
