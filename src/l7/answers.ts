/** Answers that are the proxy's own: short plain text that says what is wrong, and whose fault it is. */

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

export type OwnAnswer = {
  readonly status: number;
  readonly reason: string;
  /** Without: the length is told, the body left out. */
  readonly withBody: boolean;
  readonly connection: 'keep-alive' | 'close';
  /** The client's: HTTP/1.0 must be told that the connection stays. */
  readonly minorVersion: 0 | 1;
};

/** The whole answer as ASCII. */
export function renderOwnAnswer(answer: OwnAnswer): string {
  const phrase = phrases[answer.status] ?? 'Error';
  const body = `${answer.status} ${phrase}: ${answer.reason}\n`;
  const said = answer.connection === 'close' ? 'close' : answer.minorVersion === 0 ? 'keep-alive' : '';
  const connection = said === '' ? '' : `Connection: ${said}\r\n`;
  const head = `HTTP/1.1 ${answer.status} ${phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${body.length}\r\n${connection}\r\n`;
  return answer.withBody ? head + body : head;
}
