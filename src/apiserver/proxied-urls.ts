/** URLs in what comes back through a proxy: Location headers and links of pages. Pure. */

/** Where an answer came from, and what its URLs must lead through. */
export type ProxiedOrigin = {
  /** What stands before the paths of the back end: `/api/v1/namespaces/a/pods/web/proxy`. */
  readonly prefix: string;
  /** Address and port that the request went to: `10.42.0.2:8080`. */
  readonly backendHost: string;
  /** The Host that the back end was asked for; '' where the client named none. */
  readonly requestHost: string;
};

const absolute = /^([a-z][a-z0-9+.-]*:)?\/\/([^/?#]*)/i;

/**
 * The back end's URL as its client must write it, after the rules of k8s.io/apimachinery's proxy transport: a path from the root gets the
 * prefix. So does that of an URL with the back end's address, which no client could reach and which is left out, or with the host
 * that the client named, which stays. Relative URLs and those of other hosts are returned as they are.
 */
export function throughProxy(url: string, { prefix, backendHost, requestHost }: ProxiedOrigin): string {
  const [authority, , host] = absolute.exec(url) ?? ['', '', ''];
  const isNamed = authority !== '' && host !== '' && host === requestHost;
  const path = url.slice(authority.length);
  if (authority !== '' && !isNamed && host !== backendHost) return url;
  if (!path.startsWith('/')) return url;
  const hasPrefix = path === prefix || path.startsWith(`${prefix}/`);
  return `${isNamed ? authority : ''}${hasPrefix ? '' : prefix}${path}`;
}
