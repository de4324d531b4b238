import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { AuditTrail } from './audit/trail.ts';

/** Who asks, as authentication found out. */
export type User = {
  readonly name: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
};

/** One request, after the HTTP protocol and authentication, before any meaning. */
export type ApiRequest = {
  readonly method: string;
  /** Decoded once, without query. */
  readonly path: string;
  /** As the client sent it, query included. */
  readonly rawUrl: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<IncomingHttpHeaders>;
  readonly user: User;
  /** Of the connection, without its port; '' where it is gone. */
  readonly remoteAddress: string;
  /** Aborts when the client is gone, the request took too long or the server stops. */
  readonly signal: AbortSignal;
  /** The whole body; rejects with StatusError 413 or 408. Empty for requests without one. */
  body(): Promise<Buffer>;
  /** The body unread and unbounded, for who passes it on. Not to be mixed with `body`. */
  rawBody(): Readable;
  /** Undefined: nothing is written down of the request. */
  readonly audit?: AuditTrail | undefined;
  /** Texts for Warning headers that come up while the request is worked on. The answer carries them, a refusal too. */
  readonly warnings: string[];
};

/** Where a streamed reply goes. */
export type ReplyStream = {
  /** Resolves when more may be written; rejects when the client is gone. */
  write(chunk: Uint8Array): Promise<void>;
  /** Writes without waiting. False: the client is so slow that the stream's buffer is over its bound; it was closed. */
  push(chunk: Uint8Array): boolean;
};

export type Reply =
  | {
      readonly kind: 'bytes';
      readonly status: number;
      readonly contentType: string;
      readonly body: readonly Uint8Array[];
      readonly headers?: Readonly<Record<string, string>>;
      /** Texts for Warning headers. */
      readonly warnings?: readonly string[];
    }
  | {
      readonly kind: 'stream';
      readonly status: number;
      readonly contentType: string;
      readonly headers?: Readonly<Record<string, string>>;
      /** Writes the body; returning ends it. */
      run(stream: ReplyStream): Promise<void>;
    }
  | {
      /** Another server's answer, with its own headers. */
      readonly kind: 'relayed';
      readonly status: number;
      readonly headers: Readonly<Record<string, string | string[]>>;
      readonly body: Readable;
    };

/** An upgraded HTTP/1.1 connection: its socket and what the client sent behind the request's head. */
export type UpgradedConnection = { readonly socket: Duplex; readonly head: Buffer };

export const jsonType = 'application/json';

export function jsonReply(
  value: unknown,
  status = 200,
  options: { readonly warnings?: readonly string[]; readonly contentType?: string } = {},
): Reply {
  return {
    kind: 'bytes',
    status,
    contentType: options.contentType ?? jsonType,
    body: [Buffer.from(`${JSON.stringify(value)}\n`)],
    ...(options.warnings === undefined ? {} : { warnings: options.warnings }),
  };
}

export function textReply(text: string, status = 200, contentType = 'text/plain; charset=utf-8'): Reply {
  return { kind: 'bytes', status, contentType, body: [Buffer.from(text)] };
}
