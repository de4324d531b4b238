import type { Manager } from '../api/apply/managed-fields.ts';
import { invalid, tooLong } from '../api/field-errors.ts';
import { apiVersionOfKind } from '../api/registry.ts';
import type { Target } from './context.ts';
import { invalidOptions } from './invalid-options.ts';

/** Longest name of a field manager, characters; a User-Agent is cut there. */
export const managerNameMax = 128;

/**
 * Who the writer is for metadata.managedFields: the parameter fieldManager, or what stands in the User-Agent before
 * its first slash. Throws StatusError 422 for a name that Kubernetes does not take.
 */
export function managerOf(target: Target, operation: Manager['operation']): Manager {
  const { request, kind, subresource } = target;
  return {
    name: requestedManager(target) || agentName(request.headers['user-agent'] ?? ''),
    operation,
    apiVersion: apiVersionOfKind(kind),
    subresource,
  };
}

/** The parameter fieldManager; '' when there is none. */
export function requestedManager(target: Target): string {
  const name = target.request.query.get('fieldManager') ?? '';
  if (name.length > managerNameMax) {
    throw invalidOptions(target, tooLong('fieldManager', managerNameMax));
  }
  if (!isPrintable(name)) {
    throw invalidOptions(target, invalid('fieldManager', name, 'should not contain unprintable characters'));
  }
  return name;
}

function agentName(agent: string): string {
  const [name = ''] = agent.split('/', 1);
  return isPrintable(name) ? name.slice(0, managerNameMax) : '';
}

function isPrintable(text: string): boolean {
  return /^[^\p{C}]*$/u.test(text);
}
