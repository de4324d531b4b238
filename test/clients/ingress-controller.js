// A small Ingress controller of somebody else, as Traefik or HAProxy are to a cluster: `node ingress-controller.js KUBECONFIG CONTROLLER`.
// It takes a Lease, watches Ingresses, and writes the address of its Service into the status of those whose class names CONTROLLER
// in spec.controller, and into the status of its own custom resources. Prints a line for each thing that it did.
import {
  CoordinationV1Api,
  CoreV1Api,
  CustomObjectsApi,
  KubeConfig,
  makeInformer,
  NetworkingV1Api,
  PatchStrategy,
  setHeaderOptions,
} from '@kubernetes/client-node';

const [, , file, controller] = process.argv;
const namespace = 'stand-in';
const config = new KubeConfig();
config.loadFromFile(file);
const core = config.makeApiClient(CoreV1Api);
const networking = config.makeApiClient(NetworkingV1Api);
const coordination = config.makeApiClient(CoordinationV1Api);
const custom = config.makeApiClient(CustomObjectsApi);
const mergePatch = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);

async function lead() {
  const spec = () => ({
    holderIdentity: 'stand-in-1',
    leaseDurationSeconds: 15,
    renewTime: new Date().toISOString().replace('Z', '000Z'),
  });
  const lease = await coordination.createNamespacedLease({
    namespace,
    body: { metadata: { name: 'stand-in' }, spec: spec() },
  });
  await coordination.replaceNamespacedLease({
    namespace,
    name: 'stand-in',
    body: { metadata: lease.metadata, spec: spec() },
  });
  console.log('leads');
}

async function mayNotReadSecrets() {
  try {
    await core.listSecretForAllNamespaces();
    console.log('reads secrets');
  } catch (error) {
    console.log('secrets', error.code);
  }
}

async function writeRoutes(ip) {
  const where = { group: 'stand-in.example', version: 'v1', namespace, plural: 'routes' };
  const { items } = await custom.listNamespacedCustomObject(where);
  for (const { metadata } of items) {
    const body = { status: { address: ip } };
    await custom.patchNamespacedCustomObjectStatus({ ...where, name: metadata.name, body }, mergePatch);
    console.log('route', metadata.name);
  }
}

await lead();
await mayNotReadSecrets();
const service = await core.readNamespacedService({ namespace, name: 'stand-in' });
const [{ ip }] = service.status.loadBalancer.ingress;
console.log('address', ip);
await writeRoutes(ip);
const classes = (await networking.listIngressClass()).items;
const ours = new Set(
  classes.filter(({ spec }) => spec.controller === controller).map(({ metadata }) => metadata.name),
);
const informer = makeInformer(config, '/apis/networking.k8s.io/v1/ingresses', () =>
  networking.listIngressForAllNamespaces(),
);
async function reconcile({ metadata, spec, status }) {
  if (!ours.has(spec.ingressClassName) || status?.loadBalancer?.ingress?.[0]?.ip === ip) return;
  const body = { status: { loadBalancer: { ingress: [{ ip }] } } };
  await networking.patchNamespacedIngressStatus(
    { namespace: metadata.namespace, name: metadata.name, body },
    mergePatch,
  );
  console.log('ingress', metadata.name);
}
for (const event of ['add', 'update']) informer.on(event, (object) => void reconcile(object));
informer.on('error', () => setTimeout(() => void informer.start(), 50));
await informer.start();
console.log('watches');
