import { objectAt, stringAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { Json, JsonObject } from '../object.ts';
import { defineKind } from './define.ts';
import { eventKind } from './event.ts';

/** events.k8s.io/v1: the same Events as in core/v1, some fields under newer names. */

/** New name to old name. */
const renamed: Readonly<Record<string, string>> = {
  regarding: 'involvedObject',
  note: 'message',
  reportingController: 'reportingComponent',
  deprecatedSource: 'source',
  deprecatedFirstTimestamp: 'firstTimestamp',
  deprecatedLastTimestamp: 'lastTimestamp',
  deprecatedCount: 'count',
};
const newNames = Object.fromEntries(Object.entries(renamed).map(([now, before]) => [before, now]));

function renameFields(
  object: JsonObject,
  names: Readonly<Record<string, string>>,
  apiVersion: string,
): JsonObject {
  const entries = Object.entries(object).map(([key, value]): [string, Json] => [names[key] ?? key, value]);
  return { ...Object.fromEntries(entries), apiVersion };
}

function toCore(event: JsonObject): JsonObject {
  const core = renameFields(event, renamed, 'v1');
  core['involvedObject'] ??= {};
  return core;
}

function fromCore(event: JsonObject): JsonObject {
  const next = renameFields(event, newNames, 'events.k8s.io/v1');
  if (next['eventTime'] === undefined) next['eventTime'] = null;
  return next;
}

export const eventV1Kind: Kind = defineKind({
  group: 'events.k8s.io',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  namespaced: true,
  schema: 'events/v1.Event',
  shortNames: ['ev'],
  columns: eventKind.columns.map((column) => ({
    ...column,
    cell: (object, nowMs) => column.cell(toCore(object), nowMs),
  })),
  stored: {
    group: '',
    version: 'v1',
    kind: 'Event',
    plural: 'events',
    toStored: toCore,
    fromStored: fromCore,
  },
  validate: (event) => eventKind.validate?.(toCore(event)) ?? [],
  selectableFields(event: JsonObject): Readonly<Record<string, string>> {
    const regarding = objectAt(event, 'regarding');
    return {
      reason: stringAt(event, 'reason'),
      'regarding.kind': stringAt(regarding, 'kind'),
      'regarding.name': stringAt(regarding, 'name'),
      'regarding.namespace': stringAt(regarding, 'namespace'),
      'regarding.uid': stringAt(regarding, 'uid'),
      reportingController: stringAt(event, 'reportingController'),
      type: stringAt(event, 'type'),
    };
  },
});
