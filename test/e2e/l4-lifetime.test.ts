/** The service proxy over time: restarted, killed, its rules edited by hand, without its rights. And SCTP where the kernel has it. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { silentLogger } from '../../src/base/log.ts';
import { createSpawnedConntrack } from '../../src/l4/conntrack.ts';
import { runOk } from '../support/shell.ts';
import { addresses, type AgentName, type Network, type NodeName } from './l4-network.ts';
import {
  allPods,
  createServing,
  endpointsOf,
  type Plane,
  podsAt as podsOn,
  sliceOf,
  startNode,
  startPlane,
} from './l4-planes.ts';
import { comesTrue, reasonToSkipPackets } from './l4-proxy.ts';

const skip = await reasonToSkipPackets();
const sctpScript = fileURLToPath(new URL('l4-sctp.ts', import.meta.url));
const node = [process.execPath, '--disable-warning=ExperimentalWarning'];

async function reasonToSkipSctp(): Promise<string | false> {
  if (skip !== false) return skip;
  const tracks = await createSpawnedConntrack(silentLogger).tracksSctp();
  return tracks ? false : 'this kernel does not track SCTP (CONFIG_NF_CT_PROTO_SCTP)';
}

/** Dials one connection after the other until told to stop; resolves to how many there were and all that were not answered. */
function startLoad(network: Network, from: AgentName, host: string, port: number) {
  let stopped = false;
  const failures: string[] = [];
  const finished = (async () => {
    let count = 0;
    for (; !stopped; count++) {
      const text = await network.agents[from].tcp(host, port);
      if (!text.startsWith('pod-')) failures.push(`${from} to ${host}: ${text}`);
    }
    return count;
  })();
  return {
    async stop() {
      stopped = true;
      return { count: await finished, failures };
    },
  };
}

const noSctp = await reasonToSkipSctp();

test('l4 over time: the relay of userspace mode is killed, another one serves the same', {
  skip,
}, async () => {
  const plane = await startPlane('userspace');
  try {
    const served = createServing(() => plane);
    const { v4, v6 } = await served(allPods);
    assert.deepEqual(await podsOn(plane.network, 'pod-a', v4, 80), allPods);
    await plane.killChild('node-0');
    for (const host of [v4, v6]) {
      const answers = async () => (await plane.network.agents['pod-a'].tcp(host, 80)).startsWith('pod-');
      await comesTrue(answers, `${host} answers again`);
      assert.deepEqual(await podsOn(plane.network, 'pod-a', host, 80), allPods);
    }
    assert.match(
      plane.complaints().join('\n'),
      /the process that carries TCP connections ended, starting it again/,
    );
  } finally {
    await plane.close();
  }
});

describe('l4 over time', { skip }, () => {
  let plane: Plane;
  const serve = createServing(() => plane);
  const podsAt = (from: AgentName, host: string, port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
    podsOn(plane.network, from, host, port, protocol);
  const nft = (on: NodeName, ...args: readonly string[]): Promise<string> =>
    runOk('ip', ['netns', 'exec', plane.network.namespace(on), 'nft', ...args]);

  before(async () => {
    plane = await startPlane('nftables');
  });
  after(async () => {
    await plane?.close();
  });

  for (const how of ['stop', 'SIGKILL'] as const) {
    test(`${how === 'stop' ? 'a restart' : 'a kill -9'} leaves no gap: every connection is answered, flows and affinity stay`, async () => {
      const { v4, v6, nodePort } = await serve(allPods, { type: 'NodePort' });
      const sticky = await serve(allPods, { sessionAffinity: 'ClientIP' });
      const chosen = [await podsAt('node-0', sticky.v4, 80), await podsAt('node-0', sticky.v6, 80)];
      const flows = async () => {
        const found: string[] = [];
        for (let port = 40_300; port < 40_308; port++) {
          found.push((await plane.network.agents['pod-a'].udp(v4, 80, port)).split(' ')[0] ?? '');
        }
        return found;
      };
      const flowsBefore = await flows();
      const loads = [
        startLoad(plane.network, 'pod-a', v4, 80),
        startLoad(plane.network, 'pod-b', v6, 80),
        startLoad(plane.network, 'client', addresses['node-0'], nodePort),
      ];
      for (let round = 0; round < 3; round++) {
        await plane.restart('node-0', how, async () => {
          assert.deepEqual(await podsAt('node-0', v4, 80), allPods, 'while it is away');
        });
      }
      for (const load of loads) {
        const { count, failures } = await load.stop();
        assert.deepEqual(failures, []);
        assert.ok(count > 10, `${count} connections were made`);
      }
      assert.deepEqual(await flows(), flowsBefore);
      assert.deepEqual(
        [await podsAt('node-0', sticky.v4, 80), await podsAt('node-0', sticky.v6, 80)],
        chosen,
      );
    });
  }

  test('what changed while the proxy was away is made up for, stale UDP flows too', async () => {
    const { key, v4 } = await serve(['pod-a']);
    const udp = async () => (await plane.network.agents['node-0'].udp(v4, 80, 40_400)).split(' ')[0];
    assert.equal(await udp(), 'pod-a');
    await plane.restart('node-0', 'SIGKILL', () => {
      plane.update('endpointslices', `${key}-ipv4`, { endpoints: endpointsOf(['pod-b'], 'IPv4') } as never);
      return Promise.resolve();
    });
    assert.deepEqual(await podsAt('node-0', v4, 80), ['pod-b']);
    await comesTrue(async () => (await udp()) === 'pod-b', 'the flow moves');
  });

  test('a client’s session affinity is over when its time is', async () => {
    const { v4, v6 } = await serve(allPods, {
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 2 } },
    });
    const remembered = async (family: 'ip' | 'ip6') =>
      (await nft('node-0', 'list', 'map', family, 'fairlead', 'vips_clients')).includes('timeout 2s');
    const families = [['ip', v4] as const, ['ip6', v6] as const];
    for (const [family, host] of families) {
      assert.equal((await podsAt('pod-a', host, 80)).length, 1);
      const whileItComes = async () =>
        (await podsAt('pod-a', host, 80)).length === 1 && (await remembered(family));
      await comesTrue(whileItComes, `${family}: remembered while it comes`);
    }
    for (const [family, host] of families) {
      await comesTrue(async () => !(await remembered(family)), `${family}: forgotten after it stayed away`);
      assert.equal((await podsAt('pod-a', host, 80)).length, 1);
    }
  });

  test('rules edited by hand are healed: an element, a chain, a whole table', async () => {
    const { v4, v6 } = await serve(['pod-a']);
    const damages: readonly (readonly string[])[] = [
      ['delete', 'element', 'ip', 'fairlead', 'vips', `{ ${v4} . tcp . 80 }`],
      ['delete', 'element', 'ip6', 'fairlead', 'vips', `{ ${v6} . tcp . 80 }`],
      ['flush', 'chain', 'ip', 'fairlead', 'services'],
      ['insert', 'rule', 'ip', 'fairlead', 'guard', 'tcp', 'dport', '80', 'drop'],
      ['delete', 'table', 'ip', 'fairlead'],
      ['flush', 'ruleset'],
    ];
    for (const damage of damages) {
      await nft('node-0', ...damage);
      for (const host of [v4, v6]) {
        const healed = async () => (await plane.network.agents['node-0'].tcp(host, 80)).startsWith('pod-a');
        await comesTrue(healed, `${host} after ${damage.join(' ')}`);
      }
    }
    const { text } = await plane.get('node-0', '/metrics');
    const repairs = Number(/^fairlead_proxy_table_repairs_total (\d+)/m.exec(text)?.[1]);
    assert.ok(repairs >= damages.length, `${repairs} repairs are counted`);
  });

  test('rules of others, in tables of their own, are left alone and cost no repair', async () => {
    const repairs = async () =>
      /^fairlead_proxy_table_repairs_total .*$/m.exec((await plane.get('node-1', '/metrics')).text)?.[0];
    const count = await repairs();
    await nft('node-1', 'add', 'table', 'ip', 'somebody');
    await serve(['pod-a']); // and a change of ours
    await nft('node-1', 'delete', 'table', 'ip', 'somebody');
    const { v4 } = await serve(['pod-c']);
    assert.deepEqual(await podsAt('pod-c', v4, 80), ['pod-c']);
    assert.equal(await repairs(), count);
  });

  test('without the right to use nftables a log line says why, and node ports are served by sockets', async () => {
    const without = ['setpriv', '--inh-caps=-net_admin', '--bounding-set=-net_admin'];
    // node-1’s own proxy goes first: two proxies would have two health ports.
    await plane.restart('node-1', 'stop', async () => {
      await nft('node-1', 'flush', 'ruleset');
      const proxy = await startNode(plane.network, 'node-1', 'auto', without);
      try {
        proxy.tell({ op: 'put', kind: 'endpointslices', object: sliceOf('poor', 'IPv4', ['pod-c']) });
        const ports = [{ name: 'tcp', protocol: 'TCP', port: 80, nodePort: 32_100 }];
        proxy.tell({
          op: 'put',
          kind: 'services',
          object: {
            metadata: { name: 'poor', namespace: 'default' },
            spec: { type: 'NodePort', clusterIP: '10.43.9.9', clusterIPs: ['10.43.9.9'], ports },
          } as never,
        });
        await proxy.start();
        const answered = async () =>
          (await plane.network.agents.client.tcp(addresses['node-1'], 32_100)).startsWith('pod-c');
        await comesTrue(answered, 'the node port is served');
        const said = proxy.complaints.join('\n');
        assert.match(
          said,
          /nftables cannot be used: Services are served by sockets of this process .*not permitted/,
        );
        assert.match(said, /addresses of 10\.43\.0\.0\/16 cannot be served without the capability NET_ADMIN/);
      } finally {
        await proxy.end('stop');
      }
    });
  });

  test('SCTP: packets reach an endpoint and its answers come from the Service', {
    skip: noSctp,
  }, async () => {
    const ports = [{ name: 'sctp', protocol: 'SCTP', port: 2905 }];
    const { key, v4 } = await serve([], { ports });
    const inside = (name: AgentName) => ['netns', 'exec', plane.network.namespace(name), ...node, sctpScript];
    const ask = async (host: string) => (await runOk('ip', [...inside('pod-c'), 'ask', host, '2905'])).trim();
    assert.equal(await ask(v4), 'no answer', 'without endpoints');
    plane.update('endpointslices', `${key}-ipv4`, {
      ports: [{ name: 'sctp', protocol: 'SCTP', port: 3905 }],
      endpoints: endpointsOf(['pod-b'], 'IPv4'),
    } as never);
    await plane.settled();
    const server: ChildProcess = spawn('ip', [...inside('pod-b'), 'serve', '3905', '4711'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      assert.ok(server.stdout !== null);
      await once(createInterface({ input: server.stdout }), 'line');
      assert.equal(await ask(v4), `${v4} 4711`);
    } finally {
      const ended = once(server, 'close');
      server.kill('SIGKILL');
      await ended;
    }
  });
});
