import { parseMatching, type Matching } from '../../api/admission/match.ts';
import type { ReviewVersion } from '../../api/admission/review.ts';
import { compileNamed, type NamedExpression } from '../../api/admission/policy.ts';
import { admissionScope } from '../../api/cel/expression.ts';
import { numberAt, objectAt, objectsAt, stringAt, stringsAt } from '../../api/fields.ts';
import { reviewVersions } from '../../api/kinds/webhookconfiguration.ts';
import type { JsonObject } from '../../api/object.ts';
import type { Store } from '../../store/store.ts';
import { parseEntry } from '../objects.ts';
import { readAddress, type WebhookAddress } from './client.ts';

/** One entry of a configuration, ready to be asked. */
export type Webhook = {
  readonly name: string;
  readonly mutating: boolean;
  readonly matching: Matching;
  readonly conditions: readonly NamedExpression[];
  readonly failOpen: boolean;
  readonly timeoutMs: number;
  readonly reinvoke: boolean;
  readonly address: WebhookAddress;
  readonly version: ReviewVersion;
};

export type WebhookRegistry = {
  /** By the name of their configuration, then in its order. The same list until a configuration changes. */
  readonly mutating: readonly Webhook[];
  readonly validating: readonly Webhook[];
  stop(): void;
};

const prefix = 'admissionregistration.k8s.io/';
const mutatingPrefix = `${prefix}mutatingwebhookconfigurations/`;
const validatingPrefix = `${prefix}validatingwebhookconfigurations/`;

/** Follows the configurations in the store: one counts from its commit on. */
export function createWebhookRegistry(store: Store): WebhookRegistry {
  const configurations = new Map<string, readonly Webhook[]>();
  let mutating: readonly Webhook[] = [];
  let validating: readonly Webhook[] = [];

  const isOurs = (key: string): boolean => key.startsWith(mutatingPrefix) || key.startsWith(validatingPrefix);
  function set(key: string, configuration: JsonObject): void {
    const webhooks = objectsAt(configuration, 'webhooks');
    configurations.set(
      key,
      webhooks.map((webhook) => compileWebhook(webhook, key.startsWith(mutatingPrefix))),
    );
  }
  function index(): void {
    const keys = [...configurations.keys()].toSorted();
    const under = (start: string): readonly Webhook[] =>
      keys.filter((key) => key.startsWith(start)).flatMap((key) => configurations.get(key) ?? []);
    mutating = under(mutatingPrefix);
    validating = under(validatingPrefix);
  }

  const listing = store.list(prefix);
  for (const entry of listing.entries) if (isOurs(entry.key)) set(entry.key, parseEntry(entry));
  index();
  const watching = store.watch(prefix, listing.revision, (events) => {
    for (const event of events) {
      if (!isOurs(event.key)) continue;
      if (event.type === 'delete') configurations.delete(event.key);
      else set(event.key, parseEntry(event.entry));
    }
    index();
  });
  return {
    get mutating() {
      return mutating;
    },
    get validating() {
      return validating;
    },
    stop: () => watching.stop(),
  };
}

function compileWebhook(webhook: JsonObject, mutating: boolean): Webhook {
  const accepted = stringsAt(webhook, 'admissionReviewVersions');
  const known: readonly string[] = reviewVersions;
  return {
    name: stringAt(webhook, 'name'),
    mutating,
    matching: parseMatching(webhook, 'rules'),
    conditions: compileNamed(
      webhook,
      'matchConditions',
      { name: 'name', expression: 'expression' },
      admissionScope({ authorizer: true }),
    ),
    failOpen: stringAt(webhook, 'failurePolicy') === 'Ignore',
    timeoutMs: (numberAt(webhook, 'timeoutSeconds') ?? 10) * 1000,
    reinvoke: stringAt(webhook, 'reinvocationPolicy') === 'IfNeeded',
    address: readAddress(objectAt(webhook, 'clientConfig')),
    version: (accepted.find((version) => known.includes(version)) ?? 'v1') as ReviewVersion,
  };
}
