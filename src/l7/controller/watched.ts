import {
  allowFromNamespaces,
  clusterIngressParameters,
  contentLabel,
  ingressParameters,
  staticResponses,
} from '../../api/fairlead-kinds.ts';
import type { ConfigMap, Secret } from '../../api/gen/core-v1.ts';
import {
  configMaps,
  endpointSlices,
  ingressClasses,
  ingresses,
  secrets,
  services,
} from '../../api/resource.ts';
import type { Task } from '../../base/lifetime.ts';
import type { Logger } from '../../base/log.ts';
import type { ApiClient } from '../../client/client.ts';
import { createInformer } from '../../control/create-informer.ts';
import { withoutManagedFields } from '../../control/informers.ts';
import { serviceKeyOfSlice } from '../../model/endpoints.ts';
import type { IngressView } from '../routes/compile.ts';

/** The informers of the controller. */
export type Watched = {
  readonly view: IngressView;
  readonly tasks: readonly Task[];
  whenSynced(signal: AbortSignal): Promise<void>;
};

const byService = 'service';

export type WatchOptions = {
  /** Those without our label, too: annotations of ingress-nginx name ConfigMaps that know nothing of us. */
  readonly allConfigMaps: boolean;
};

/** @param onChange called after any change that may change routes */
export function createWatched(
  client: ApiClient,
  log: Logger,
  onChange: () => void,
  { allConfigMaps }: WatchOptions,
): Watched {
  const ingressInformer = createInformer(client, ingresses, { log, transform: withoutManagedFields });
  const classInformer = createInformer(client, ingressClasses, { log, transform: withoutManagedFields });
  const serviceInformer = createInformer(client, services, { log, transform: withoutManagedFields });
  const sliceInformer = createInformer(client, endpointSlices, { log, transform: withoutManagedFields });
  const secretInformer = createInformer(client, secrets, { log, transform: certificateOnly });
  // Other clusters may not have our kinds, and an older role may not let us read them.
  const optional = { log, transform: withoutManagedFields, mayBeAbsent: true } as const;
  const responseInformer = createInformer(client, staticResponses, optional);
  const contentInformer = createInformer(client, configMaps, {
    ...optional,
    ...(allConfigMaps ? { transform: headersOrContent } : { labelSelector: `${contentLabel}=true` }),
  });
  const parametersInformer = createInformer(client, ingressParameters, optional);
  const clusterParametersInformer = createInformer(client, clusterIngressParameters, optional);
  sliceInformer.addIndex(byService, (slice) => {
    const key = serviceKeyOfSlice(slice);
    return key === undefined ? [] : [key];
  });
  const informers = [
    ingressInformer,
    classInformer,
    serviceInformer,
    sliceInformer,
    secretInformer,
    responseInformer,
    contentInformer,
    parametersInformer,
    clusterParametersInformer,
  ];
  const names = [
    'ingresses',
    'ingressclasses',
    'services',
    'endpointslices',
    'secrets',
    'staticresponses',
    'configmaps',
    'ingressparameters',
    'clusteringressparameters',
  ];
  for (const informer of informers) informer.onChange(onChange);
  return {
    view: {
      get ingressClasses() {
        return classInformer.list();
      },
      get ingresses() {
        return ingressInformer.list();
      },
      service: (key) => serviceInformer.get(key),
      slices: (key) => sliceInformer.byIndex(byService, key),
      secret: (key) => secretInformer.get(key),
      staticResponse: (key) => responseInformer.get(key),
      configMap: (key) => contentInformer.get(key),
      parameters: (key) => parametersInformer.get(key) ?? clusterParametersInformer.get(key),
    },
    tasks: informers.map((informer, index) => ({
      name: `${names[index]} informer`,
      run: (signal: AbortSignal) => informer.run(signal),
    })),
    whenSynced: async (signal) => void (await Promise.all(informers.map((each) => each.whenSynced(signal)))),
  };
}

/** Of a Secret only what Ingresses can name stays in memory: a certificate and its key, an authority, a file of password hashes. */
function certificateOnly(secret: Secret): Secret {
  const { name, namespace, uid, resourceVersion, annotations } = secret.metadata ?? {};
  const allowed = annotations?.[allowFromNamespaces];
  const cert = secret.data?.['tls.crt'];
  const key = secret.data?.['tls.key'];
  const ca = secret.data?.['ca.crt']; // of fairlead.dev/backend-tls-secret
  const crl = secret.data?.['ca.crl']; // of fairlead.dev/client-certificate-secret
  const auth = secret.data?.['auth']; // passwords of fairlead.dev/basic-auth-secret, hashed
  return {
    metadata: {
      name,
      namespace,
      uid,
      resourceVersion,
      ...(allowed === undefined ? {} : { annotations: { [allowFromNamespaces]: allowed } }),
    },
    type: secret.type,
    data: {
      ...(cert === undefined || key === undefined ? {} : { 'tls.crt': cert, 'tls.key': key }),
      ...(ca === undefined ? {} : { 'ca.crt': ca }),
      ...(crl === undefined ? {} : { 'ca.crl': crl }),
      ...(auth === undefined ? {} : { auth }),
    },
  };
}

/** What a ConfigMap of headers may weigh; a larger one is none, and only its name stays in memory. */
const headersLengthMax = 65_536;

/** Of ConfigMaps without our label only those stay in memory that may hold headers. */
function headersOrContent(map: ConfigMap): ConfigMap {
  const { name, namespace, uid, resourceVersion, labels } = map.metadata ?? {};
  if (labels?.[contentLabel] === 'true') return withoutManagedFields(map);
  const metadata = { name, namespace, uid, resourceVersion };
  const { data = {} } = map;
  let length = 0;
  for (const key in data) length += key.length + (data[key]?.length ?? 0);
  return length > headersLengthMax ? { metadata } : { metadata, data };
}
