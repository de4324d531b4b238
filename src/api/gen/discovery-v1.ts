// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { ObjectReference } from './core-v1.ts';
import type { ObjectMeta } from './meta-v1.ts';

export type Endpoint = {
  readonly addresses: readonly string[];
  readonly conditions?: EndpointConditions | undefined;
  readonly deprecatedTopology?: { readonly [key: string]: string } | undefined;
  readonly hints?: EndpointHints | undefined;
  readonly hostname?: string | undefined;
  readonly nodeName?: string | undefined;
  readonly targetRef?: ObjectReference | undefined;
  readonly zone?: string | undefined;
};

export type EndpointConditions = {
  readonly ready?: boolean | undefined;
  readonly serving?: boolean | undefined;
  readonly terminating?: boolean | undefined;
};

export type EndpointHints = {
  readonly forNodes?: readonly ForNode[] | undefined;
  readonly forZones?: readonly ForZone[] | undefined;
};

export type EndpointPort = {
  readonly appProtocol?: string | undefined;
  readonly name?: string | undefined;
  readonly port?: number | undefined;
  readonly protocol?: string | undefined;
};

export type EndpointSlice = {
  readonly addressType: string;
  readonly apiVersion?: string | undefined;
  readonly endpoints?: readonly Endpoint[] | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly ports?: readonly EndpointPort[] | undefined;
};

export type ForNode = {
  readonly name: string;
};

export type ForZone = {
  readonly name: string;
};
