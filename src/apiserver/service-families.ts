import { invalid, notSupported } from '../api/field-errors.ts';
import { objectAt, stringAt, stringsAt } from '../api/fields.ts';
import type { FieldError } from '../api/kind.ts';
import type { JsonObject } from '../api/object.ts';

const families = ['IPv4', 'IPv6'] as const;
const policies = ['SingleStack', 'PreferDualStack', 'RequireDualStack'] as const;
const familiesMax = 2;

/** Rules of a Service's address families on a cluster that has Service addresses of one family alone. */
export function familyProblems(service: JsonObject, own: 4 | 6): readonly FieldError[] {
  const spec = objectAt(service, 'spec') ?? {};
  const policy = stringAt(spec, 'ipFamilyPolicy');
  const asked = stringsAt(spec, 'ipFamilies');
  const errors: FieldError[] = [];
  if (policy !== '' && !policies.some((known) => known === policy)) {
    errors.push(notSupported('spec.ipFamilyPolicy', policy, policies));
  }
  asked.forEach((family, position) => {
    const at = `spec.ipFamilies[${position}]`;
    if (!families.some((known) => known === family)) errors.push(notSupported(at, family, families));
    else if (asked.indexOf(family) < position) {
      errors.push({ type: 'FieldValueDuplicate', field: at, message: `Duplicate value: "${family}"` });
    }
  });
  if (asked.length > familiesMax) {
    errors.push(invalid('spec.ipFamilies', [...asked], 'may only hold up to 2 values'));
  }
  if (errors.length > 0 || isOpen(spec)) return errors;
  if (policy === 'RequireDualStack') {
    errors.push(
      invalid('spec.ipFamilyPolicy', policy, 'this cluster is not configured for dual-stack services'),
    );
  }
  if (asked.length > 1 && policy === 'SingleStack') {
    const detail = "must be 'RequireDualStack' or 'PreferDualStack' when multiple 'ipFamilies' are specified";
    errors.push(invalid('spec.ipFamilyPolicy', policy, detail));
  }
  asked.forEach((family, position) => {
    if (family === `IPv${own}`) return;
    errors.push(invalid(`spec.ipFamilies[${position}]`, family, 'not configured on this cluster'));
  });
  return errors;
}

/** Headless and without selector: its endpoints are somebody else's, of whatever families. */
function isOpen(spec: JsonObject): boolean {
  const hasSelector = Object.keys(objectAt(spec, 'selector') ?? {}).length > 0;
  return stringAt(spec, 'clusterIP') === 'None' && !hasSelector;
}
