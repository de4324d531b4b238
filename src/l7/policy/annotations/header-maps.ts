import type { AnnotationReader } from './reader.ts';
import { type NamedObject, namedObjectOf } from './values.ts';

/** ConfigMaps whose entries are headers. */
export type HeaderMapRules = {
  /** Set in answers. */
  readonly response: NamedObject | undefined;
  /** Told to the service of auth-url. */
  readonly auth: NamedObject | undefined;
};

export function readHeaderMaps(reader: AnnotationReader): HeaderMapRules {
  return {
    response: reader.read('response-headers-from', allowed, namedObjectOf),
    auth: reader.read('auth-request-headers-from', allowed, namedObjectOf),
  };
}

const allowed = 'the name of a ConfigMap in the same namespace, or NAMESPACE/NAME';
