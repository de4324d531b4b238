import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { nodeKind } from '../api/kinds/node.ts';
import { createAuthority } from '../base/certificates.ts';
import { openMemoryStore } from '../store/memory.ts';
import type { ApiServerConfig } from './config.ts';
import { createKubeletLink } from './kubelet-link.ts';
import { keyOfObject, templateOf } from './objects.ts';

const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) };

test('a log was refused with 502 when the kubelet ended the kept connection that was taken for it', async () => {
  const authority = await createAuthority('ca', validity.notBefore, validity.notAfter);
  const pair = await authority.issue({
    commonName: 'n1',
    usage: 'both',
    addresses: ['127.0.0.1'],
    ...validity,
  });
  const connections = new Map<unknown, number>();
  const kubelet = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
    const before = connections.get(request.socket) ?? 0;
    connections.set(request.socket, before + 1);
    if (before === 0) response.end('log');
    else request.socket.destroy(); // as when its time to be idle is over just then
  });
  await new Promise<void>((resolve) => kubelet.listen(0, '127.0.0.1', resolve));
  const { port } = kubelet.address() as AddressInfo;
  const store = openMemoryStore();
  const status = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    daemonEndpoints: { kubeletEndpoint: { Port: port } },
  };
  await store.put(
    keyOfObject(nodeKind, '', 'n1'),
    templateOf(nodeKind, { metadata: { name: 'n1' }, status }),
    0,
  );
  const pki = {
    caCert: authority.pair.certificate,
    kubeletClientCert: pair.certificate,
    kubeletClientKey: pair.key,
  };
  const link = createKubeletLink(store, { pki } as ApiServerConfig);
  const signal = new AbortController().signal;
  const read = async (): Promise<string> => text((await link.get('n1', '/log', signal)) as IncomingMessage);
  try {
    assert.deepEqual([await read(), await read(), await read()], ['log', 'log', 'log']);
    assert.deepEqual([...connections.values()], [2, 2, 1], 'kept connections were used, and lost');
  } finally {
    link.close();
    kubelet.closeAllConnections();
    kubelet.close();
  }
});
