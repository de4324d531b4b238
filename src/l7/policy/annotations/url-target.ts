import { type Template, templateOf, templateVariables } from '../request-variables.ts';

/** Where a request of our own goes. */
export type UrlTarget = {
  readonly tls: boolean;
  /** Host as the request names it, with the port if the URL has one. */
  readonly authority: string;
  readonly hostname: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
  /** Set for a name such as auth.default.svc.cluster.local: its endpoints are asked, no resolver. */
  readonly service: { readonly namespace: string; readonly name: string } | undefined;
};

/** Whom a question about a request goes to. */
export type QuestionTarget = {
  /** `itself`: whoever serves that path of the request's own host, as its route says. */
  readonly at: UrlTarget | 'itself';
  /** Path and query. */
  readonly path: Template;
};

const serviceName =
  /^([a-z]([a-z0-9-]*[a-z0-9])?)\.([a-z0-9]([a-z0-9-]*[a-z0-9])?)\.svc(\.cluster\.local)?\.?$/;

export const urlTargetAllowed = 'an http(s) URL, such as http://auth.default.svc/check';

export function urlTargetOf(value: string): UrlTarget | undefined {
  if (value.length > 2048 || !/^https?:\/\/[\x21-\x7e]+$/.test(value) || value.includes('$'))
    return undefined;
  const url = URL.parse(value);
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return undefined;
  const tls = url.protocol === 'https:';
  const [, name, , namespace] = serviceName.exec(url.hostname) ?? [];
  return {
    tls,
    authority: url.host,
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, ''),
    port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    service: name === undefined || namespace === undefined ? undefined : { namespace, name },
  };
}

export const questionTargetAllowed = `${urlTargetAllowed}, or http(s)://$host/check for a path of the same host; its path may hold ${templateVariables}`;

/** The host is either written out or that of the request: other variables would let clients choose who decides about them. */
export function questionTargetOf(value: string): QuestionTarget | undefined {
  const [, scheme, host = '', written = ''] =
    /^(https?|\$scheme|\$pass_access_scheme):\/\/([^/?#]+)(\/[\x21-\x7e]*)?$/.exec(value) ?? [];
  const path = templateOf(written === '' ? '/' : written);
  if (scheme === undefined || path === undefined || value.length > 2048 || written.includes('#'))
    return undefined;
  if (/^\$(\{?)(host|http_host|best_http_host)\}?$/.test(host)) return { at: 'itself', path };
  const at = urlTargetOf(`${scheme}://${host}/`);
  return at === undefined ? undefined : { at, path };
}
