import { createHash } from 'node:crypto';
import { editFields } from '../http1/head-edit.ts';

/** What a server of WebSocket joins to its client's key (RFC 6455 §1.3). */
const acceptSuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** How WebSocket is asked for over HTTP/2 (RFC 8441), and what an upgrade of HTTP/1.1 is answered by. */
export type WebSocketRequest = {
  /** The head without its key, which means nothing there (RFC 8441 §5). */
  readonly text: string;
  /** The answer to the client's key; '' without one. */
  readonly accept: string;
};

/** @param text a head that asks for an upgrade to WebSocket, as renderUpstreamRequest makes it */
export function webSocketOver(text: string): WebSocketRequest {
  const key = /\r\nsec-websocket-key:[ \t]*([^\r]*?)[ \t]*\r\n/i.exec(text)?.[1] ?? '';
  return {
    text: editFields(text, [{ name: 'Sec-WebSocket-Key', value: '' }]),
    accept: key === '' ? '' : createHash('sha1').update(`${key}${acceptSuffix}`).digest('base64'),
  };
}
