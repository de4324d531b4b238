import type { Verdict } from './translation.ts';

type Known = readonly [verdict: Verdict, text: string];

const streams: Known = ['idle', 'bodies stream through, with back-pressure both ways'];
const waf: Known = ['none', 'there is no web application firewall; put one in front or beside'];
const tracing: Known = [
  'none',
  'no spans are sent; traceparent of clients passes through, and --trace-context begins a W3C trace without one',
];
const withoutAuth: Known = ['idle', 'there is no auth-url'];
const withoutMirror: Known = ['idle', 'there is no mirror-target'];
const removed: Known = ['none', 'ingress-nginx itself has removed it'];
const snippet: Known = ['none', 'nginx configuration cannot be run here'];

/** The documented annotations of which nothing is made, and why. */
export const untranslated: Readonly<Record<string, Known>> = {
  'auth-method': withoutAuth,
  'auth-signin': withoutAuth,
  'auth-signin-redirect-param': withoutAuth,
  'auth-response-headers': withoutAuth,
  'auth-request-redirect': withoutAuth,
  'auth-cache-key': withoutAuth,
  'auth-cache-duration': withoutAuth,
  'auth-proxy-set-headers': withoutAuth,
  'auth-always-set-cookie': withoutAuth,
  'auth-keepalive': ['idle', 'connections are always kept'],
  'auth-keepalive-share-vars': ['idle', 'connections are always kept'],
  'auth-keepalive-requests': ['idle', 'connections are always kept'],
  'auth-keepalive-timeout': ['idle', 'connections are always kept'],
  'auth-snippet': [
    'none',
    'nginx configuration cannot be run here, but for proxy_set_header with known variables',
  ],
  'enable-global-auth': ['idle', 'there is no authentication for all Ingresses'],
  'client-body-buffer-size': streams,
  'proxy-buffering': streams,
  'proxy-buffers-number': streams,
  'proxy-busy-buffers-size': streams,
  'proxy-max-temp-file-size': streams,
  'proxy-request-buffering': streams,
  'configuration-snippet': snippet,
  'server-snippet': snippet,
  'stream-snippet': snippet,
  'custom-http-errors': [
    'none',
    'ingress-nginx asks its --default-backend-service, and answers 404 itself without one; there is no such Service for all here: errors pass as they are, unless fairlead.dev/error-codes and fairlead.dev/error-service name one of the same namespace',
  ],
  'disable-proxy-intercept-errors': ['idle', 'there is no custom-http-errors'],
  'enable-access-log': ['none', 'the access log is for all or none: --access-log'],
  'enable-rewrite-log': ['none', '`fairlead explain URL` tells what a path becomes'],
  'enable-opentelemetry': tracing,
  'opentelemetry-trust-incoming-span': tracing,
  'opentelemetry-operation-name': tracing,
  'enable-opentracing': tracing,
  'opentracing-trust-incoming-span': tracing,
  'enable-influxdb': removed,
  'influxdb-measurement': removed,
  'influxdb-port': removed,
  'influxdb-host': removed,
  'influxdb-server-name': removed,
  'global-rate-limit': removed,
  'global-rate-limit-window': removed,
  'global-rate-limit-key': removed,
  'global-rate-limit-ignored-cidrs': removed,
  'http2-push-preload': ['none', 'browsers have given up HTTP/2 push'],
  'enable-modsecurity': waf,
  'enable-owasp-core-rules': waf,
  'modsecurity-transaction-id': waf,
  'modsecurity-snippet': waf,
  'limit-rate': ['none', 'the speed of answers is not bounded'],
  'limit-rate-after': ['none', 'the speed of answers is not bounded'],
  'upstream-hash-by-subset': ['none', 'a hash chooses an endpoint, not a group of them'],
  'upstream-hash-by-subset-size': ['none', 'a hash chooses an endpoint, not a group of them'],
  'mirror-request-body': withoutMirror,
  'mirror-host': withoutMirror,
  'proxy-cookie-domain': ['none', 'cookies of backends pass through as they are'],
  'proxy-cookie-path': ['none', 'cookies of backends pass through as they are'],
  'proxy-http-version': [
    'idle',
    'HTTP/1.1 is spoken, and HTTP/2 where backend-protocol or appProtocol says so',
  ],
  'proxy-next-upstream-timeout': ['differs', 'each try has connect-timeout'],
  'proxy-ssl-ciphers': ['idle', 'the ciphers of the runtime are used'],
  'proxy-ssl-protocols': ['idle', 'TLS 1.2 and 1.3 are used'],
  'proxy-ssl-verify-depth': ['idle', 'chains of any usual length are verified'],
  'service-upstream': ['differs', 'requests go to endpoints, never to the Service address'],
  'ssl-ciphers': ['idle', 'the ciphers of the runtime are used'],
  'ssl-prefer-server-ciphers': ['idle', 'the ciphers of the runtime are used'],
};
