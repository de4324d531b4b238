import { objectsAt, stringAt, objectAt } from '../fields.ts';
import type { LabelSelector } from '../gen/meta-v1.ts';
import type { Column } from '../kind.ts';
import { formatSelector, selectorOf } from '../labels.ts';
import type { JsonObject } from '../object.ts';
import { noneText, wideColumn } from './columns.ts';

function containerTexts(object: JsonObject, field: 'name' | 'image'): string {
  return objectsAt(object, 'spec', 'template', 'spec', 'containers')
    .map((container) => stringAt(container, field))
    .join(',');
}

/** What `-o wide` adds for everything that runs Pods from a template. */
export const workloadWideColumns: readonly Column[] = [
  wideColumn('Containers', "Names of the template's containers.", (object) => containerTexts(object, 'name')),
  wideColumn('Images', "Images of the template's containers.", (object) => containerTexts(object, 'image')),
  wideColumn('Selector', 'Labels of the Pods that belong to it.', (object) => {
    const selector = objectAt(object, 'spec', 'selector');
    return selector === undefined
      ? noneText
      : formatSelector(selectorOf(selector as LabelSelector) ?? []) || noneText;
  }),
];
