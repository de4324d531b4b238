import { notSupported } from '../api/field-errors.ts';
import type { Target } from './context.ts';
import { invalidOptions } from './invalid-options.ts';

/** Whether the request only wants to see what would become of it. Throws StatusError 422. */
export function isDryRun(target: Target): boolean {
  const values = target.request.query.getAll('dryRun').filter((value) => value !== '');
  const odd = values.find((value) => value !== 'All');
  if (odd !== undefined) {
    throw invalidOptions(target, notSupported('dryRun', values, ['All']));
  }
  return values.length > 0;
}
