import type { AnnotationReader } from './reader.ts';
import { integerIn, listOf } from './values.ts';

/** Another Service of the same namespace. */
export type ServiceRule = {
  readonly service: string;
  /** undefined: its first. */
  readonly port: string | number | undefined;
};

export type BackendRules = {
  /** Gets the requests while the rule's own backend has no endpoint. */
  readonly fallback: ServiceRule | undefined;
  /** Services that share the requests of rules that name one of them. */
  readonly weights: readonly ServiceWeight[] | undefined;
};

export type ServiceWeight = { readonly service: string; readonly weight: number };

/** As many as a rule of the Gateway API has. */
const weightsMax = 16;
const weightsAllowed = `up to ${weightsMax} Services of the same namespace, each once, as NAME=WEIGHT, with integers from 0 to 1000000 of which one is above 0`;

export const serviceAllowed = 'a Service of the same namespace, as NAME or NAME:PORT';

export function readBackends(reader: AnnotationReader): BackendRules {
  return {
    fallback: reader.read('fallback-service', serviceAllowed, serviceOf),
    weights: reader.read('backend-weights', weightsAllowed, weightsOf),
  };
}

function weightsOf(value: string): readonly ServiceWeight[] | undefined {
  const weights = listOf(value, (item) => {
    const [, service, digits] = /^([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)=(\d{1,7})$/.exec(item) ?? [];
    const weight = integerIn(0, 1_000_000)(digits ?? '');
    return service === undefined || weight === undefined ? undefined : { service, weight };
  });
  const names = new Set(weights?.map(({ service }) => service));
  const good = names.size === weights?.length && names.size <= weightsMax;
  return good && weights.some(({ weight }) => weight > 0) ? weights : undefined;
}

export function serviceOf(value: string): ServiceRule | undefined {
  const [, service, written] =
    /^([a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::([a-z0-9-]{1,15}))?$/.exec(value) ?? [];
  if (service === undefined) return undefined;
  if (written === undefined || !/^\d+$/.test(written)) return { service, port: written };
  const port = Number(written);
  return port < 1 || port > 65_535 ? undefined : { service, port };
}
