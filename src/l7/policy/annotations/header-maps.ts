import type { AnnotationReader } from './reader.ts';
import { objectNameOf } from './values.ts';

/** A ConfigMap whose entries are headers. */
export type HeaderMapRule = {
  /** undefined: that of the Ingress. */
  readonly namespace: string | undefined;
  readonly name: string;
};

export type HeaderMapRules = {
  /** Set in answers. */
  readonly response: HeaderMapRule | undefined;
  /** Told to the service of auth-url. */
  readonly auth: HeaderMapRule | undefined;
};

export function readHeaderMaps(reader: AnnotationReader): HeaderMapRules {
  return {
    response: reader.read('response-headers-from', allowed, headerMapOf),
    auth: reader.read('auth-request-headers-from', allowed, headerMapOf),
  };
}

const allowed = 'the name of a ConfigMap in the same namespace, or NAMESPACE/NAME';

function headerMapOf(value: string): HeaderMapRule | undefined {
  const slash = value.indexOf('/');
  const namespace = slash === -1 ? undefined : objectNameOf(value.slice(0, slash));
  const name = objectNameOf(value.slice(slash + 1));
  return name === undefined || (slash !== -1 && namespace === undefined) ? undefined : { namespace, name };
}
