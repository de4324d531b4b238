import type { EtcdEndpoint } from './etcd-client.ts';

/** Objects of a cluster lie below it. */
export const etcdPrefixDefault = '/fairlead/';

/**
 * `https://10.0.0.1:2379,https://10.0.0.2:2379`, as in kube-apiserver's --etcd-servers; undefined unless all are URLs of a
 * host and, by default 2379, a port.
 */
export function parseEtcdEndpoints(text: string): readonly EtcdEndpoint[] | undefined {
  const endpoints = text.split(',').map(parseEndpoint);
  return endpoints.every((endpoint) => endpoint !== undefined) ? endpoints : undefined;
}

function parseEndpoint(text: string): EtcdEndpoint | undefined {
  const found = /^(https?):\/\/(\[[0-9a-fA-F:.]+\]|[^:/[\]\s]+)(?::(\d{1,5}))?\/?$/.exec(text.trim());
  if (found === null) return undefined;
  const [, scheme, host = '', port = '2379'] = found;
  if (Number(port) < 1 || Number(port) > 65_535) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port), secure: scheme === 'https' };
}
