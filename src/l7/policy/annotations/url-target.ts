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
