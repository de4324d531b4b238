import type { AnnotationReader } from './reader.ts';
import { type ServiceRule, serviceAllowed, serviceOf } from './backends.ts';
import { listOf } from './values.ts';

/** Answers of these statuses give way to what a Service says to them. */
export type ErrorPageRule = { readonly codes: ReadonlySet<number>; readonly service: ServiceRule };

const codesMax = 100;

export function readErrorPages(reader: AnnotationReader): ErrorPageRule | undefined {
  const codes = reader.read(
    'error-codes',
    'statuses such as 404,503, from 300 to 599, but not 499',
    (value) => {
      const list = listOf(value, codeOf);
      return list === undefined || list.length > codesMax ? undefined : new Set(list);
    },
  );
  const service = reader.read('error-service', serviceAllowed, serviceOf);
  if ((codes === undefined) !== (service === undefined)) {
    const name = codes === undefined ? 'error-service' : 'error-codes';
    reader.bad(name, reader.peek(name) ?? '', 'error-codes and error-service go together');
  }
  return codes === undefined || service === undefined ? undefined : { codes, service };
}

/** 499 is told to nobody: the client has left. */
function codeOf(value: string): number | undefined {
  const code = /^[3-5]\d\d$/.test(value) ? Number(value) : 499;
  return code === 499 ? undefined : code;
}
