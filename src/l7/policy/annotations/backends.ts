import type { AnnotationReader } from './reader.ts';

/** Another Service of the same namespace. */
export type ServiceRule = {
  readonly service: string;
  /** undefined: its first. */
  readonly port: string | number | undefined;
};

export type BackendRules = {
  /** Gets the requests while the rule's own backend has no endpoint. */
  readonly fallback: ServiceRule | undefined;
};

export const serviceAllowed = 'a Service of the same namespace, as NAME or NAME:PORT';

export function readBackends(reader: AnnotationReader): BackendRules {
  return { fallback: reader.read('fallback-service', serviceAllowed, serviceOf) };
}

export function serviceOf(value: string): ServiceRule | undefined {
  const [, service, written] =
    /^([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::([a-z0-9-]{1,15}))?$/.exec(value) ?? [];
  if (service === undefined) return undefined;
  if (written === undefined || !/^\d+$/.test(written)) return { service, port: written };
  const port = Number(written);
  return port < 1 || port > 65_535 ? undefined : { service, port };
}
