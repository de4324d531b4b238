import {
  checkFieldSelector,
  type FieldSelector,
  matchesFields,
  parseFieldSelector,
} from '../api/field-selector.ts';
import { stringAt, stringMapAt } from '../api/fields.ts';
import type { Kind } from '../api/kind.ts';
import { matchesLabels, parseLabelSelector, type Selector } from '../api/labels.ts';
import type { Entry } from '../store/store.ts';
import { parseEntry } from './objects.ts';

/** Which objects of a kind a list or watch wants. `everything` when there is nothing to check. */
export type Selection = { readonly everything: boolean; matches(entry: Entry): boolean };

type Facts = {
  readonly labels: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
};

/** What selectors look at, found once an entry however many watchers ask. Dies with the entry. */
const factsOfEntry = new WeakMap<Entry, Facts>();

const everything: Selection = { everything: true, matches: () => true };

/** Reads labelSelector and fieldSelector. Throws StatusError 400. */
export function parseSelection(kind: Kind, query: URLSearchParams): Selection {
  const labels = parseLabelSelector(query.get('labelSelector') ?? '');
  const fields = parseFieldSelector(query.get('fieldSelector') ?? '');
  checkFieldSelector(fields, Object.keys(kind.selectableFields?.({ metadata: {} }) ?? {}));
  if (labels.length === 0 && fields.length === 0) return everything;
  return selectionOf(kind, labels, fields);
}

function selectionOf(kind: Kind, labels: Selector, fields: FieldSelector): Selection {
  return {
    everything: false,
    matches(entry) {
      const facts = factsOf(kind, entry);
      return matchesLabels(labels, facts.labels) && matchesFields(fields, facts.fields);
    },
  };
}

function factsOf(kind: Kind, entry: Entry): Facts {
  const known = kind.stored === undefined ? factsOfEntry.get(entry) : undefined;
  if (known !== undefined) return known;
  const object = parseEntry(entry, kind);
  const facts: Facts = {
    labels: stringMapAt(object, 'metadata', 'labels'),
    fields: {
      ...kind.selectableFields?.(object),
      'metadata.name': stringAt(object, 'metadata', 'name'),
      'metadata.namespace': stringAt(object, 'metadata', 'namespace'),
    },
  };
  // Where a kind is served in several forms, each has fields of its own.
  if (kind.stored === undefined) factsOfEntry.set(entry, facts);
  return facts;
}
