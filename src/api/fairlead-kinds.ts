import type { CustomResourceDefinition } from './gen/apiextensions-v1.ts';
import type { ObjectMeta } from './gen/meta-v1.ts';
import type { Resource } from './resource.ts';

/** Our own kinds, all of the Ingress: what CustomResourceDefinitions say of them, and what clients see. */
export const fairleadGroup = 'fairlead.dev';
const version = 'v1alpha1';

/** An answer without any backend, for `backend.resource` of an Ingress in its namespace. */
export type StaticResponse = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?:
    | {
        /** Default 200. */
        readonly status?: number | undefined;
        readonly headers?: readonly { readonly name: string; readonly value: string }[] | undefined;
        readonly body?: string | undefined;
        readonly bodyFrom?:
          | { readonly configMapKeyRef?: { readonly name: string; readonly key: string } | undefined }
          | undefined;
      }
    | undefined;
};

/** For `spec.parameters` of an IngressClass: what holds for its Ingresses unless they say otherwise. */
export type IngressParameters = {
  readonly apiVersion?: string | undefined;
  readonly kind?: string | undefined;
  readonly metadata?: ObjectMeta | undefined;
  readonly spec?:
    | {
        /** Annotations without their prefix `fairlead.dev/`. */
        readonly annotations?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
};

export const staticResponses: Resource<StaticResponse> = {
  group: fairleadGroup,
  version,
  plural: 'staticresponses',
  kind: 'StaticResponse',
  namespaced: true,
};
export const ingressParameters: Resource<IngressParameters> = {
  group: fairleadGroup,
  version,
  plural: 'ingressparameters',
  kind: 'IngressParameters',
  namespaced: true,
};
export const clusterIngressParameters: Resource<IngressParameters> = {
  group: fairleadGroup,
  version,
  plural: 'clusteringressparameters',
  kind: 'ClusterIngressParameters',
  namespaced: false,
};

/** ConfigMaps that a StaticResponse may take its body from have this label with the value "true": others are not read. */
export const contentLabel = 'fairlead.dev/content';

/** On a Secret: the namespaces, or `*`, whose Ingresses may name it in annotations, beside its own. */
export const allowFromNamespaces = 'fairlead.dev/allow-from-namespaces';

type Schema = Readonly<Record<string, unknown>>;

const text = (description: string, more: Schema = {}): Schema => ({ type: 'string', description, ...more });

const staticResponseSpec: Schema = {
  type: 'object',
  description: 'The answer that every request gets.',
  'x-kubernetes-validations': [
    { rule: '!(has(self.body) && has(self.bodyFrom))', message: 'body and bodyFrom exclude each other' },
  ],
  properties: {
    status: {
      type: 'integer',
      minimum: 200,
      maximum: 599,
      default: 200,
      description: 'Status of the answer.',
    },
    headers: {
      type: 'array',
      maxItems: 32,
      description: 'Header fields. Without Content-Type the body is told to be plain text.',
      items: {
        type: 'object',
        required: ['name', 'value'],
        properties: {
          name: text('Name of the field.', { pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$" }),
          value: text('Its value.', { pattern: '^[\\x20-\\x7e]*$', maxLength: 4096 }),
        },
      },
    },
    body: text('The body.', { maxLength: 262_144 }),
    bodyFrom: {
      type: 'object',
      description: 'Where the body is.',
      required: ['configMapKeyRef'],
      properties: {
        configMapKeyRef: {
          type: 'object',
          required: ['name', 'key'],
          description: `A ConfigMap of the same namespace with the label ${contentLabel}=true.`,
          properties: { name: text('Name of the ConfigMap.'), key: text('Key under data or binaryData.') },
        },
      },
    },
  },
};

const parametersSpec: Schema = {
  type: 'object',
  properties: {
    annotations: {
      type: 'object',
      description:
        'Annotations without their prefix fairlead.dev/, such as read-timeout. They hold for Ingresses of the class that do not have them.',
      additionalProperties: { type: 'string', maxLength: 4096 },
    },
  },
};

function definition(
  resource: Resource,
  description: string,
  spec: Schema,
  columns: readonly { readonly name: string; readonly type: string; readonly jsonPath: string }[],
): CustomResourceDefinition {
  const { group, plural, kind, namespaced } = resource;
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      description,
      properties: {
        apiVersion: { type: 'string' },
        kind: { type: 'string' },
        metadata: { type: 'object' },
        spec,
      },
    },
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: namespaced ? 'Namespaced' : 'Cluster',
      names: { plural, kind, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        { name: version, served: true, storage: true, schema, additionalPrinterColumns: [...columns, age] },
      ],
    },
  };
}

const age = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

/** As deploy/crds.yaml has them, which a test compares. */
export const fairleadDefinitions: readonly CustomResourceDefinition[] = [
  definition(
    staticResponses,
    'An answer that the Ingress controller gives itself, named by backend.resource of an Ingress.',
    staticResponseSpec,
    [{ name: 'Status', type: 'integer', jsonPath: '.spec.status' }],
  ),
  definition(
    ingressParameters,
    'What holds for the Ingresses of an IngressClass whose parameters name it with scope Namespace.',
    parametersSpec,
    [],
  ),
  definition(
    clusterIngressParameters,
    'What holds for the Ingresses of an IngressClass whose parameters name it with scope Cluster.',
    parametersSpec,
    [],
  ),
];
