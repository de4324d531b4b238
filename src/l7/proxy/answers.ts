/** Answers that are the proxy's own: short plain text that says what is wrong, and whose fault it is. */

const phrases: Readonly<Record<number, string>> = {
  100: 'Continue',
  102: 'Processing',
  103: 'Early Hints',
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  203: 'Non-Authoritative Information',
  204: 'No Content',
  205: 'Reset Content',
  206: 'Partial Content',
  300: 'Multiple Choices',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  410: 'Gone',
  411: 'Length Required',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Range Not Satisfiable',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  422: 'Unprocessable Content',
  425: 'Too Early',
  426: 'Upgrade Required',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** Why a request is answered 408. */
export const bodyLate = 'the request body did not arrive in time';

/** The registered phrase of a status; '' for one that has none, which HTTP/1.1 allows. */
export function reasonPhrase(status: number): string {
  return phrases[status] ?? '';
}

/** What a client is told of a request that no endpoint has answered. `error`: the last one, `none`: nobody to ask. */
export function failureAnswer(error: string | undefined): {
  readonly status: number;
  readonly reason: string;
} {
  if (error === 'none') return { status: 503, reason: 'no endpoint is ready for this request' };
  if (error === 'ETIMEDOUT') return { status: 504, reason: 'the backend could not be reached in time' };
  if (isTlsFailure(error))
    return { status: 502, reason: 'the TLS connection to the backend was not accepted' };
  return {
    status: 502,
    reason: 'the backend could not be reached or closed the connection without an answer',
  };
}

/** By the codes of node:tls: of certificates that are not believed, and of handshakes that fail. */
function isTlsFailure(error: string | undefined): boolean {
  return (
    error !== undefined && /^ERR_(TLS|SSL)_|CERT|SIGNATURE|^CRL_|^HOSTNAME_MISMATCH$|^EPROTO$/.test(error)
  );
}

/** The field that tells what a client may ask for. Other methods are passed on as well, but for CONNECT and TRACE, which are 405. */
export const allowedMethods = 'Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n';

export type OwnAnswer = {
  readonly status: number;
  readonly reason: string;
  /** Without: the length is told, the body left out. */
  readonly withBody: boolean;
  readonly connection: 'keep-alive' | 'close';
  /** The client's: HTTP/1.0 must be told that the connection stays. */
  readonly minorVersion: 0 | 1;
  /** Further field lines, each with its CRLF; '' for most. */
  readonly fields: string;
  /** Now. */
  readonly date: string;
  /** In place of the text about status and reason; its type is among `fields`. */
  readonly body?: Buffer | undefined;
};

/** The whole answer as Latin-1: one character a byte. */
export function renderOwnAnswer(answer: OwnAnswer): string {
  const phrase = phrases[answer.status] ?? 'Error';
  const bodiless = answer.status === 204 || answer.status === 304;
  const told = `${answer.status} ${phrase}: ${answer.reason}\n`;
  const body = bodiless ? '' : (answer.body?.toString('latin1') ?? told);
  const said = answer.connection === 'close' ? 'close' : answer.minorVersion === 0 ? 'keep-alive' : '';
  const connection = said === '' ? '' : `Connection: ${said}\r\n`;
  const length = bodiless ? '' : `Content-Length: ${body.length}\r\n`; // RFC 9110 §8.6
  const type =
    answer.body === undefined
      ? 'Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n'
      : '';
  const date = /^date:/im.test(answer.fields) ? '' : `Date: ${answer.date}\r\n`;
  const head = `HTTP/1.1 ${answer.status} ${phrase}\r\n${type}${length}${date}${answer.fields}${connection}\r\n`;
  return answer.withBody ? head + body : head;
}

/** The answer to what is no request that could be passed on. */
export function renderRejection(
  status: number,
  reason: string,
  connection: OwnAnswer['connection'],
  date: string,
): string {
  const fields = status === 405 ? allowedMethods : ''; // RFC 9110 §15.5.6
  return renderOwnAnswer({ status, reason, withBody: true, connection, minorVersion: 1, fields, date });
}
