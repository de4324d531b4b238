import type { IncomingMessage } from 'node:http';
import { objectsAt, stringAt } from '../api/fields.ts';
import type { JsonObject } from '../api/object.ts';
import { badRequest, failure } from '../api/status.ts';
import type { ApiContext, Target } from './context.ts';
import type { Reply } from './exchange.ts';
import { requireEntry } from './list.ts';
import { parseEntry } from './objects.ts';
import { isTrue } from './request-info.ts';

/** What goes through to the kubelet of a Pod's node: logs as a stream, exec, attach and port-forward as a raw connection. */

const logParameters = [
  'follow',
  'tailLines',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'previous',
  'limitBytes',
] as const;

/** An error of the kubelet that is longer is cut, bytes. */
export const kubeletErrorBytesMax = 4096;

export async function streamLog(context: ApiContext, target: Target): Promise<Reply> {
  const answer = await openLog(context, target);
  return {
    kind: 'stream',
    status: 200,
    contentType: 'text/plain',
    async run(stream) {
      for await (const chunk of answer) await stream.write(chunk as Buffer);
    },
  };
}

/** The kubelet's answer with the log in it. Throws StatusError. */
export async function openLog(context: ApiContext, target: Target): Promise<IncomingMessage> {
  const { request, namespace, name } = target;
  const pod = parseEntry(requireEntry(context, target));
  const container = chooseContainer(pod, request.query.get('container') ?? '');
  const nodeName = requireNode(pod);
  const query = new URLSearchParams();
  for (const parameter of logParameters) {
    const value = request.query.get(parameter);
    if (value !== null) query.set(parameter, value);
  }
  const path = `/containerLogs/${namespace}/${name}/${container}?${query.toString()}`;
  const answer = await context.kubelets.get(nodeName, path, request.signal);
  if (answer.statusCode !== 200) throw await kubeletFailure(answer.statusCode ?? 500, answer);
  return answer;
}

async function kubeletFailure(status: number, body: AsyncIterable<unknown>): Promise<Error> {
  let text = '';
  for await (const chunk of body) {
    text += String(chunk);
    if (text.length >= kubeletErrorBytesMax) break; // the rest is not read
  }
  const reason = status === 404 ? 'NotFound' : status === 400 ? 'BadRequest' : 'InternalError';
  const message = messageIn(text.slice(0, kubeletErrorBytesMax));
  return failure(status, reason, message === '' ? `the kubelet answered ${status}` : message);
}

/** A kubelet answers with plain text, or with a Status. */
function messageIn(text: string): string {
  try {
    const value = JSON.parse(text) as JsonObject | null;
    return typeof value?.['message'] === 'string' ? value['message'] : text.trim();
  } catch {
    return text.trim();
  }
}

export type StreamSubresource = 'exec' | 'attach' | 'portforward';

export function isStreamSubresource(subresource: string): subresource is StreamSubresource {
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward';
}

/** The kubelet's path for the request. Throws StatusError 400 where the Pod has no such container or no node. */
export function streamPath(
  pod: JsonObject,
  target: Target,
  subresource: StreamSubresource,
): { readonly nodeName: string; readonly path: string } {
  const { namespace, name, request } = target;
  const nodeName = requireNode(pod);
  const query = new URLSearchParams();
  if (subresource === 'portforward') {
    for (const port of request.query.getAll('ports').flatMap((ports) => ports.split(','))) {
      query.append('port', port);
    }
    return { nodeName, path: `/portForward/${namespace}/${name}${suffix(query)}` };
  }
  const container = chooseContainer(pod, request.query.get('container') ?? '');
  for (const part of request.query.getAll('command')) query.append('command', part);
  for (const flag of ['stdin', 'stdout', 'stderr', 'tty']) {
    if (isTrue(request.query.get(flag))) query.set(flag, 'true');
  }
  return { nodeName, path: `/${subresource}/${namespace}/${name}/${container}${suffix(query)}` };
}

function suffix(query: URLSearchParams): string {
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

function requireNode(pod: JsonObject): string {
  const nodeName = stringAt(pod, 'spec', 'nodeName');
  if (nodeName === '')
    throw badRequest(`pod ${stringAt(pod, 'metadata', 'name')} does not have a host assigned`);
  return nodeName;
}

function chooseContainer(pod: JsonObject, asked: string): string {
  const name = stringAt(pod, 'metadata', 'name');
  const names = (field: string): readonly string[] =>
    objectsAt(pod, 'spec', field).map((container) => stringAt(container, 'name'));
  const containers = names('containers');
  if (asked !== '') {
    const all = [...containers, ...names('initContainers'), ...names('ephemeralContainers')];
    if (!all.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${name}`);
    return asked;
  }
  const [only, second] = containers;
  if (only !== undefined && second === undefined) return only;
  throw badRequest(
    `a container name must be specified for pod ${name}, choose one of: [${containers.join(' ')}]`,
  );
}
