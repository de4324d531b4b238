import { badRequest } from '../api/status.ts';
import type { Target } from './context.ts';

/** Whether the request only wants to see what would become of it. Throws StatusError 400. */
export function isDryRun(target: Target): boolean {
  const values = target.request.query.getAll('dryRun').filter((value) => value !== '');
  const odd = values.find((value) => value !== 'All');
  if (odd !== undefined) {
    throw badRequest(`dryRun: Unsupported value: ${JSON.stringify(odd)}: supported values: "All"`);
  }
  return values.length > 0;
}
