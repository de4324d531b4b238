import type { Manager } from '../api/apply/managed-fields.ts';
import { apiVersionOfKind } from '../api/registry.ts';
import { badRequest } from '../api/status.ts';
import type { Target } from './context.ts';

/** Longest name of a field manager, characters; a User-Agent is cut there. */
const managerNameMax = 128;

/**
 * Who the writer is for metadata.managedFields: the parameter fieldManager, or what stands in the User-Agent before
 * its first slash. Throws StatusError 400 for a name that Kubernetes does not take.
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
    throw badRequest(
      `PatchOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than ${managerNameMax} bytes`,
    );
  }
  if (!isPrintable(name)) {
    throw badRequest(
      `PatchOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: ${JSON.stringify(name)}: should not contain unprintable characters`,
    );
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
