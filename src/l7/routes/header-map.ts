import type { ConfigMap } from '../../api/gen/core-v1.ts';
import { contentLabel } from '../../api/fairlead-kinds.ts';
import type { ObjectKey } from '../../api/object.ts';
import { fieldsOfData } from '../policy/annotations/fields.ts';
import type { FieldEdit } from '../policy/policy.ts';

type HeaderMapProblem = {
  readonly reason: 'ConfigMapNotFound' | 'InvalidConfigMap';
  readonly message: string;
};

/**
 * The headers that a ConfigMap holds: all of them or, if one is not allowed, none.
 * @param allowed names in lower case; undefined: every one that is no connection's
 */
export function headersOfMap(
  key: ObjectKey,
  map: ConfigMap | undefined,
  allowed: ReadonlySet<string> | undefined,
): readonly FieldEdit[] | HeaderMapProblem {
  if (map === undefined) {
    const label = `${contentLabel}=true`;
    const message = `there is no ConfigMap ${key}; without --nginx-annotations it needs the label ${label}`;
    return { reason: 'ConfigMapNotFound', message };
  }
  const fields = fieldsOfData(map.data ?? {});
  if (typeof fields === 'string') {
    return { reason: 'InvalidConfigMap', message: `ConfigMap ${key}: ${fields}` };
  }
  const refused = fields.find(({ name }) => allowed?.has(name.toLowerCase()) === false);
  if (refused === undefined) return fields;
  const message = `ConfigMap ${key}: ${refused.name} is not among --nginx-allowed-headers`;
  return { reason: 'InvalidConfigMap', message };
}
