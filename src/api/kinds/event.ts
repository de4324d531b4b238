import { ageOf } from '../duration.ts';
import { invalid } from '../field-errors.ts';
import { objectAt, stringAt } from '../fields.ts';
import type { Event } from '../gen/core-v1.ts';
import type { FieldError, Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { column, nameColumn, wideColumn } from './columns.ts';
import { defineKind } from './define.ts';

function read(object: JsonObject): Event {
  return object as unknown as Event;
}

function firstSeen(event: Event): string | undefined {
  return event.firstTimestamp ?? event.eventTime;
}

function lastSeen(event: Event): string | undefined {
  return event.series?.lastObservedTime ?? event.lastTimestamp ?? firstSeen(event);
}

function countOf(event: Event): number {
  return event.series?.count ?? (event.count === undefined || event.count === 0 ? 1 : event.count);
}

function targetOf(object: JsonObject): string {
  const kind = stringAt(object, 'involvedObject', 'kind').toLowerCase();
  const name = stringAt(object, 'involvedObject', 'name');
  return name === '' ? kind : `${kind}/${name}`;
}

function sourceOf(event: Event): string {
  const component = event.source?.component || event.reportingComponent || '';
  const host = event.source?.host || event.reportingInstance || '';
  return host === '' ? component : `${component}, ${host}`;
}

/** Events of cluster-scoped objects live in `default`. */
function validateEvent(event: JsonObject): readonly FieldError[] {
  const involved = stringAt(event, 'involvedObject', 'namespace');
  const namespace = stringAt(event, 'metadata', 'namespace');
  const fits =
    involved === namespace || (involved === '' && (namespace === 'default' || namespace === 'kube-system'));
  return fits ? [] : [invalid('involvedObject.namespace', involved, 'does not match event.namespace')];
}

export const eventKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'Event',
  plural: 'events',
  namespaced: true,
  schema: 'core/v1.Event',
  shortNames: ['ev'],
  columns: [
    column('Last Seen', 'Time since it was seen last.', (object, nowMs) =>
      ageOf(lastSeen(read(object)), nowMs),
    ),
    column('Type', 'Normal or Warning.', (object) => stringAt(object, 'type')),
    column('Reason', 'Why it was reported, in one word.', (object) => stringAt(object, 'reason')),
    column('Object', 'What it is about.', targetOf),
    wideColumn('Subobject', 'The part that it is about.', (object) =>
      stringAt(object, 'involvedObject', 'fieldPath'),
    ),
    wideColumn('Source', 'Who reported it.', (object) => sourceOf(read(object))),
    column('Message', 'What happened.', (object) => stringAt(object, 'message').trim()),
    wideColumn('First Seen', 'Time since it was seen first.', (object, nowMs) =>
      ageOf(firstSeen(read(object)), nowMs),
    ),
    wideColumn('Count', 'How often it was seen.', (object) => countOf(read(object))),
    { ...nameColumn, priority: 1 },
  ],
  validate: validateEvent,
  selectableFields(event: JsonObject): Readonly<Record<string, string>> {
    const involved = objectAt(event, 'involvedObject');
    return {
      'involvedObject.kind': stringAt(involved, 'kind'),
      'involvedObject.namespace': stringAt(involved, 'namespace'),
      'involvedObject.name': stringAt(involved, 'name'),
      'involvedObject.uid': stringAt(involved, 'uid'),
      'involvedObject.apiVersion': stringAt(involved, 'apiVersion'),
      'involvedObject.resourceVersion': stringAt(involved, 'resourceVersion'),
      'involvedObject.fieldPath': stringAt(involved, 'fieldPath'),
      reason: stringAt(event, 'reason'),
      reportingComponent: stringAt(event, 'reportingComponent'),
      source: stringAt(event, 'source', 'component') || stringAt(event, 'reportingComponent'),
      type: stringAt(event, 'type'),
    };
  },
});
