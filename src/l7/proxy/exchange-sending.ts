import type { BodyTranslator } from '../http2/body-translate.ts';
import type { Http2Facts } from '../http1/http1-parse.ts';
import type { UpstreamRequest } from '../balance/upstream-request.ts';

/** The head with the first bytes of the body, which are data[start, end). False: stop until the endpoint drains. */
export function sendHead(
  upstream: UpstreamRequest,
  text: string,
  http2: Http2Facts | undefined,
  translator: BodyTranslator | undefined,
  data: Buffer,
  start: number,
  end: number,
): boolean {
  const body = translator?.translate(data, start, end);
  if (body === undefined) return upstream.send(text, http2, data, start, end);
  return upstream.send(text, http2, body, 0, body.length);
}

/** More of the body. False: as above. */
export function sendBody(
  upstream: UpstreamRequest,
  translator: BodyTranslator | undefined,
  data: Buffer,
  start: number,
  end: number,
): boolean {
  const bytes = translator?.translate(data, start, end) ?? data.subarray(start, end);
  return bytes.length === 0 || upstream.write(bytes);
}
