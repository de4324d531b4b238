import type { FieldError } from '../api/kind.ts';
import { invalid, type StatusError } from '../api/status.ts';
import type { Target } from './context.ts';

const optionsKinds: Readonly<Record<string, string>> = {
  POST: 'CreateOptions',
  PUT: 'UpdateOptions',
  PATCH: 'PatchOptions',
  DELETE: 'DeleteOptions',
};

/** 422 for what a write's query, or a body of DeleteOptions, asks for. */
export function invalidOptions({ request }: Target, ...errors: readonly FieldError[]): StatusError {
  const kind = optionsKinds[request.method] ?? 'ListOptions';
  return invalid({ group: 'meta.k8s.io', kind }, '', errors);
}
