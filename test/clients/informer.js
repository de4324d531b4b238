// An informer of @kubernetes/client-node: `node informer.js KUBECONFIG`. Prints a line an event of ConfigMaps in `default`.
import { CoreV1Api, KubeConfig, makeInformer } from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromFile(process.argv[2]);
const core = config.makeApiClient(CoreV1Api);
const path = '/api/v1/namespaces/default/configmaps';
const informer = makeInformer(config, path, () => core.listNamespacedConfigMap({ namespace: 'default' }));
for (const event of ['add', 'update', 'delete']) {
  informer.on(event, (object) => console.log(event, object.metadata.name, object.data?.n ?? ''));
}
// As its documentation has it: an error stops the informer until somebody starts it again.
informer.on('error', () => setTimeout(() => void informer.start(), 50));
await informer.start();
console.log('started');
