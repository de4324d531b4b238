import { metaDocs } from './meta.ts';
import { networkDocs } from './network.ts';
import { podDocs } from './pods.ts';
import type { TypeDocs } from './type-docs.ts';
import { workloadDocs } from './workloads.ts';

/** All texts. Only the OpenAPI documents need them, and those are loaded when somebody first asks for one. */
const typeDocs: TypeDocs = { ...metaDocs, ...networkDocs, ...podDocs, ...workloadDocs };

/** Fields that mean the same in every object. */
const commonFields: Readonly<Record<string, string>> = {
  apiVersion: 'APIVersion defines group and version of this form of the object, as in apps/v1.',
  kind: 'What the object is, as in Pod.',
  metadata: "Standard object's metadata: identity, labels and annotations.",
  items: 'The objects.',
};

/** Fields of objects with metadata. */
const objectFields: Readonly<Record<string, string>> = {
  spec: 'What is wanted.',
  status: 'What is. Written by the server and its controllers.',
};

/** The types that have texts, for tests. */
export function documentedTypes(): TypeDocs {
  return typeDocs;
}

/** The text of a type ("core/v1.Pod"); undefined where there is none. */
export function describeType(typeName: string): string | undefined {
  return typeDocs[typeName]?.[''];
}

/** The text of a field of it; `isObject`: the type has metadata. */
export function describeField(typeName: string, field: string, isObject: boolean): string | undefined {
  const own = typeDocs[typeName]?.[field];
  if (own !== undefined || !isObject) return own;
  return commonFields[field] ?? objectFields[field];
}
