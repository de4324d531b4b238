import type { AnnotationReader } from './reader.ts';
import { type UrlTarget, urlTargetAllowed, urlTargetOf } from './url-target.ts';
import { integerIn } from './values.ts';

export type MirrorRule = {
  readonly target: UrlTarget;
  readonly host: string | undefined;
  readonly percentage: number;
  readonly withBody: boolean;
};

export function readMirror(reader: AnnotationReader): MirrorRule | undefined {
  const target = reader.read('mirror-target', urlTargetAllowed, (value) => {
    const found = urlTargetOf(value);
    return found?.path === '/' ? found : undefined; // the request's own path is what is asked for
  });
  const host = reader.read('mirror-host', 'a host, with a port if need be', (value) =>
    /^[A-Za-z0-9._-]{1,253}(:\d{1,5})?$/.test(value) ? value : undefined,
  );
  const percentage = reader.read('mirror-percentage', 'an integer, 0 to 100', integerIn(0, 100));
  const body = reader.read('mirror-body', '"true" or "false"', (value) =>
    value === 'true' || value === 'false' ? value : undefined,
  );
  if (target === undefined) return undefined;
  return { target, host, percentage: percentage ?? 100, withBody: body !== 'false' };
}
