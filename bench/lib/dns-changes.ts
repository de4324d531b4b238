/** How soon a name follows its endpoints: a client asks without pause while the watch tells of changes. */
import { createSocket } from 'node:dgram';
import packet from 'dns-packet';
import { sliceOf } from '../../test/support/services.ts';
import type { BenchApi } from './dns-servers.ts';

const changes = 200;
const name = 'set-0.default.svc.cluster.local';

/** Milliseconds of each change, sorted. */
export async function measureChanges(port: number, api: BenchApi): Promise<readonly number[]> {
  const socket = createSocket('udp4');
  const times: number[] = [];
  let told: (addresses: readonly string[]) => void = () => {};
  socket.on('message', (bytes) => {
    const { answers = [] } = packet.decode(bytes);
    told(answers.flatMap((record) => (record.type === 'A' ? [record.data] : [])));
  });
  const query = packet.encode({ type: 'query', id: 1, questions: [{ type: 'A', name }] });
  const ask = async (): Promise<readonly string[]> => {
    const answer = Promise.withResolvers<readonly string[]>();
    told = answer.resolve;
    socket.send(query, port, '127.0.0.1');
    return answer.promise;
  };
  try {
    for (let change = 0; change < changes; change++) {
      const address = `10.45.${change >> 8}.${change & 255}`;
      const slice = sliceOf('set-0', [address]);
      const object = { ...slice, metadata: { ...slice.metadata, resourceVersion: String(change + 2) } };
      const startMs = performance.now();
      api.tell('endpointslices', { type: 'MODIFIED', object });
      while (!(await ask()).includes(address));
      times.push(performance.now() - startMs);
    }
  } finally {
    socket.close();
  }
  return times.toSorted((a, b) => a - b);
}
