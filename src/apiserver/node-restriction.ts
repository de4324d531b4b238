import { stringAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import type { User } from './exchange.ts';
import { isMirrorPod } from './pod-admission.ts';

/** A write as node restriction looks at it. */
export type NodeWrite = {
  readonly verb: 'create' | 'update' | 'delete';
  readonly group: string;
  readonly plural: string;
  readonly subresource: string;
  readonly name: string;
  /** The object to be written, or deleted. */
  readonly object: JsonObject;
};

/**
 * A node agent may write only its own Node, its own Lease, and Pods bound to it. Undefined: allowed. Else the reason.
 * https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
 */
export function restrictNode(user: User, write: NodeWrite): string | undefined {
  if (!user.groups.includes('system:nodes')) return undefined;
  const nodePrefix = 'system:node:';
  if (!user.name.startsWith(nodePrefix))
    return 'user is in group system:nodes but is not named system:node:NAME';
  const nodeName = user.name.slice(nodePrefix.length);
  switch (`${write.group}/${write.plural}`) {
    case '/nodes':
      return write.name === nodeName
        ? undefined
        : `node ${JSON.stringify(nodeName)} is not allowed to modify node ${JSON.stringify(write.name)}`;
    case '/pods':
      return restrictPod(nodeName, write);
    case 'coordination.k8s.io/leases':
      return write.name === nodeName
        ? undefined
        : `node ${JSON.stringify(nodeName)} can only access node lease with the same name as the requesting node`;
    default:
      return undefined;
  }
}

function restrictPod(nodeName: string, { verb, subresource, object }: NodeWrite): string | undefined {
  if (subresource === 'eviction') return undefined;
  const boundTo = stringAt(object, 'spec', 'nodeName');
  const who = `node ${JSON.stringify(nodeName)}`;
  if (boundTo !== nodeName) {
    return `${who} can only ${verb} pods with spec.nodeName set to itself`;
  }
  if (verb === 'create' && !isMirrorPod(object)) {
    return `pod does not have "kubernetes.io/config.mirror" annotation, ${who} can only create mirror pods`;
  }
  if (verb === 'update' && subresource !== 'status') return `${who} can only update pod status, not the pod`;
  return undefined;
}
