import { acceptedStatus } from '../../api/custom/kind.ts';
import { stringAt, stringsAt } from '../../api/fields.ts';
import type { Kind } from '../../api/kind.ts';
import type { JsonObject } from '../../api/object.ts';
import { kinds } from '../../api/registry.ts';
import { rfc3339 } from '../../base/clock.ts';
import type { ApiContext } from '../context.ts';

/**
 * Gives a definition its status as it is written: its names are free or not, which this server knows at once. So a
 * definition is established in the same commit.
 */
export function admitDefinition(context: ApiContext, definition: JsonObject): void {
  const group = stringAt(definition, 'spec', 'group');
  const plural = stringAt(definition, 'spec', 'names', 'plural');
  const others = [...kinds, ...context.customs.all()].filter(
    (kind) => kind.group === group && !(kind.custom === true && kind.plural === plural),
  );
  definition['status'] = acceptedStatus(
    definition,
    conflictOf(definition, others),
    rfc3339(context.clock.nowMs()),
  );
}

function conflictOf(definition: JsonObject, others: readonly Kind[]): string | undefined {
  const names = [
    stringAt(definition, 'spec', 'names', 'plural'),
    stringAt(definition, 'spec', 'names', 'singular'),
    ...stringsAt(definition, 'spec', 'names', 'shortNames'),
  ];
  const taken = new Set(others.flatMap((kind) => [kind.plural, kind.singular, ...kind.shortNames]));
  const clash = names.find((name) => taken.has(name));
  if (clash !== undefined) return `${JSON.stringify(clash)} is already in use`;
  const kind = stringAt(definition, 'spec', 'names', 'kind');
  return others.some((other) => other.kind === kind)
    ? `${JSON.stringify(kind)} is already in use`
    : undefined;
}
