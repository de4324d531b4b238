import type { Kind } from '../api/kind.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Store } from '../store/store.ts';
import type { AggregationRegistry } from './aggregation/registry.ts';
import type { AuditLog } from './audit/log.ts';
import type { Authorizer } from './authorizer.ts';
import type { ApiServerConfig } from './config.ts';
import type { CustomKinds } from './custom-resources/registry.ts';
import type { ApiRequest } from './exchange.ts';
import type { KubeletLink } from './kubelet-link.ts';
import type { Metrics } from './metrics.ts';
import type { PolicyRegistry } from './policies/registry.ts';
import type { ProtobufEncoder } from './protobuf-encode.ts';
import type { Quotas } from './quota.ts';
import type { ServiceAllocator } from './service-allocator.ts';
import type { TokenAuthority } from './tokens.ts';
import type { UsageMeter } from './usage/measure.ts';
import type { WebhookClient } from './webhooks/client.ts';
import type { WebhookRegistry } from './webhooks/registry.ts';

/** What the handlers of one server share. */
export type ApiContext = {
  readonly config: ApiServerConfig;
  readonly log: Logger;
  readonly clock: Clock;
  readonly store: Store;
  readonly authorizer: Authorizer;
  readonly tokens: TokenAuthority;
  readonly services: ServiceAllocator;
  readonly customs: CustomKinds;
  readonly quotas: Quotas;
  readonly kubelets: KubeletLink;
  readonly metrics: Metrics;
  readonly usage: UsageMeter;
  readonly webhookRegistry: WebhookRegistry;
  readonly policies: PolicyRegistry;
  readonly aggregation: AggregationRegistry;
  readonly webhooks: WebhookClient;
  /** Undefined: there is none. */
  readonly audit: AuditLog | undefined;
};

/** A request with the kind that its path names. */
export type Target = {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly rest: readonly string[];
  readonly request: ApiRequest;
  /** The encoder, when the client accepts protobuf. */
  readonly protobuf?: ProtobufEncoder;
};
