// A watch of @kubernetes/client-node: `node bookmarks.js KUBECONFIG`. Watches a namespace in which nothing happens, and prints
// the revisions that bookmarks tell of meanwhile.
import { CoreV1Api, KubeConfig, Watch } from '@kubernetes/client-node';

const config = new KubeConfig();
config.loadFromFile(process.argv[2]);
const list = await config.makeApiClient(CoreV1Api).listNamespacedConfigMap({ namespace: 'kube-public' });
await new Watch(config).watch(
  '/api/v1/namespaces/kube-public/configmaps',
  { resourceVersion: list.metadata.resourceVersion, allowWatchBookmarks: true },
  (type, object) => {
    if (type !== 'BOOKMARK') throw new Error(`an event of type ${type}`);
    console.log('bookmark', object.metadata.resourceVersion);
  },
  (error) => {
    if (error) throw error;
  },
);
console.log('watching');
