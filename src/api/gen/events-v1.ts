// Written by tools/generate-api from the model tables of @kubernetes/client-node. Do not edit by hand.
import type { EventSource, ObjectReference } from './core-v1.ts';
import type { ObjectMeta } from './meta-v1.ts';

export type Event = {
  readonly action?: string | undefined;
  readonly apiVersion?: string | undefined;
  readonly deprecatedCount?: number | undefined;
  readonly deprecatedFirstTimestamp?: string | undefined;
  readonly deprecatedLastTimestamp?: string | undefined;
  readonly deprecatedSource?: EventSource | undefined;
  readonly eventTime: string;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly note?: string | undefined;
  readonly reason?: string | undefined;
  readonly regarding?: ObjectReference | undefined;
  readonly related?: ObjectReference | undefined;
  readonly reportingController?: string | undefined;
  readonly reportingInstance?: string | undefined;
  readonly series?: EventSeries | undefined;
  readonly type?: string | undefined;
};

export type EventSeries = {
  readonly count: number;
  readonly lastObservedTime: string;
};
