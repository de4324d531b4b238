import type { LocationEdit } from '../policy.ts';
import type { AnnotationReader } from './reader.ts';
import { lineOf, pathAllowed, pathOf } from './values.ts';

/** How the request looks to the backend, and what of its answer is put right for clients. */
export type UpstreamRules = {
  readonly upstreamHost: string | undefined;
  readonly upstreamConnection: 'keep-alive' | 'close' | undefined;
  readonly forwardedPrefix: string | undefined;
  readonly locationEdit: LocationEdit | undefined;
};

export function readUpstream(reader: AnnotationReader): UpstreamRules {
  const from = reader.read('location-rewrite-from', 'the beginning of a URL or path', lineOf);
  const to = reader.read('location-rewrite-to', 'what stands in for it', lineOf);
  if ((from === undefined) !== (to === undefined)) {
    const name = from === undefined ? 'location-rewrite-to' : 'location-rewrite-from';
    reader.bad(name, from ?? to ?? '', 'location-rewrite-from and location-rewrite-to go together');
  }
  return {
    upstreamHost: reader.read('upstream-host', 'a host, with a port if need be', (value) =>
      /^[A-Za-z0-9._-]{1,253}(:\d{1,5})?$/.test(value) ? value : undefined,
    ),
    upstreamConnection: reader.read('upstream-connection', '"keep-alive" or "close"', (value) =>
      value === 'keep-alive' || value === 'close' ? value : undefined,
    ),
    forwardedPrefix: reader.read('forwarded-prefix', pathAllowed, pathOf),
    locationEdit: from === undefined || to === undefined ? undefined : { from, to },
  };
}
