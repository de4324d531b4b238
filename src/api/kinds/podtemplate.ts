import { ensureObject, objectAt, objectsAt, stringAt, stringMapAt } from '../fields.ts';
import type { Kind } from '../kind.ts';
import type { JsonObject } from '../object.ts';
import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { validatePodTemplate } from './pod-validation.ts';

/** A named template that no controller reads; some clients keep them. */
export const podTemplateKind: Kind = defineKind({
  group: '',
  version: 'v1',
  kind: 'PodTemplate',
  plural: 'podtemplates',
  namespaced: true,
  schema: 'core/v1.PodTemplate',
  countsGenerations: true,
  columns: [
    nameColumn,
    column('Containers', "Names of the template's containers.", (object) =>
      objectsAt(object, 'template', 'spec', 'containers')
        .map((container) => stringAt(container, 'name'))
        .join(','),
    ),
    column('Images', "Images of the template's containers.", (object) =>
      objectsAt(object, 'template', 'spec', 'containers')
        .map((container) => stringAt(container, 'image'))
        .join(','),
    ),
    column('Pod Labels', "The template's labels.", (object) =>
      Object.entries(stringMapAt(object, 'template', 'metadata', 'labels'))
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    ),
  ],
  setDefaults(object: JsonObject): void {
    defaultPodTemplate(ensureObject(object, 'template'));
  },
  validate: (object) => validatePodTemplate(objectAt(object, 'template') ?? {}, 'template'),
});
