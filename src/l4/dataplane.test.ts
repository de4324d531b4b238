import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeFacts, serviceOf, sliceOf } from '../../test/support/services.ts';
import { silentLogger } from '../base/log.ts';
import { buildNodeView, type NodeView } from '../model/view.ts';
import { type Nft, NftError } from './apply.ts';
import type { CompileOptions } from './compile.ts';
import type { Conntrack } from './conntrack.ts';
import { createDataplane, type ReportProblem } from './dataplane.ts';
import { emptyKernelTable, type KernelTable, parseListing } from './listing.ts';
import { elementsOf, type Ruleset } from './ruleset.ts';
import type { UdpFlow } from './udp-flows.ts';

const options: CompileOptions = {
  clusterCidrs: ['10.42.0.0/16'],
  serviceCidrs: ['10.43.0.0/16'],
  clusterNodeAddresses: [],
};
const { signal } = new AbortController();

function viewWith(...endpoints: readonly string[]): NodeView {
  return buildNodeView([serviceOf('web', '10.43.0.5')], [sliceOf('web', endpoints)], nodeFacts);
}

class FakeNft implements Nft {
  readonly scripts: string[] = [];
  table: KernelTable = emptyKernelTable;
  failNext: NftError | undefined;

  run(script: string): Promise<void> {
    const error = this.failNext;
    this.failNext = undefined;
    if (error !== undefined) return Promise.reject(error);
    this.scripts.push(script);
    if (this.count !== undefined) this.count += this.disturbNext ? 2 : 1;
    this.disturbNext = false;
    return Promise.resolve();
  }

  disturbNext = false;
  readonly reads: string[] = [];
  /** Everybody's transactions; undefined: not told. */
  count: number | undefined;

  read(_family: 4 | 6, _signal: AbortSignal, parts = 'all'): Promise<KernelTable> {
    this.reads.push(parts);
    return Promise.resolve(parts === 'all' ? this.table : { ...this.table, elements: new Map() });
  }

  readClients(): Promise<KernelTable['clients']> {
    return Promise.resolve(this.table.clients);
  }

  generation(): number | undefined {
    return this.count;
  }
}

class FakeConntrack implements Conntrack {
  flows: UdpFlow[] = [];
  sctp = true;

  tracksSctp(): Promise<boolean> {
    return Promise.resolve(this.sctp);
  }

  udpFlows(): Promise<readonly UdpFlow[]> {
    return Promise.resolve([...this.flows]);
  }

  forget(_family: 4 | 6, flow: UdpFlow): Promise<void> {
    this.flows = this.flows.filter((other) => other !== flow);
    return Promise.resolve();
  }
}

/** What the kernel would list of a table that is as it should be. */
function listingOf([ruleset]: readonly Ruleset[]): KernelTable {
  assert.ok(ruleset !== undefined);
  const chains = new Map([...ruleset.chains.keys()].map((name) => [name, 'rules']));
  return { elements: elementsOf(ruleset), clients: [], chains };
}

function dataplaneWith(nft: FakeNft, conntrack = new FakeConntrack(), report: ReportProblem = () => {}) {
  return createDataplane(silentLogger, { nft, conntrack, report }, [4]);
}

test('dataplane: first a full table, then only changes, then nothing', async () => {
  const nft = new FakeNft();
  const dataplane = dataplaneWith(nft);
  assert.equal(await dataplane.sync(viewWith('10.42.0.2'), options, signal), 'full');
  const view = viewWith('10.42.0.2', '10.42.0.3');
  assert.equal(await dataplane.sync(view, options, signal), 'change');
  assert.equal(await dataplane.sync(view, options, signal), 'none');
  assert.equal(nft.scripts.length, 2);
});

test('dataplane: a refused change is followed by a full table at once', async () => {
  const nft = new FakeNft();
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  nft.failNext = new NftError('refused', 'No such file or directory');
  assert.equal(await dataplane.sync(viewWith(), options, signal), 'full');
});

test('dataplane: after any other failure nothing about the kernel is believed', async () => {
  const nft = new FakeNft();
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  nft.failNext = new NftError('missing', 'no nft');
  await assert.rejects(dataplane.sync(viewWith(), options, signal), { code: 'missing' });
  assert.equal(await dataplane.sync(viewWith(), options, signal), 'full');
});

test('dataplane: a table that somebody changed is replaced', async () => {
  const nft = new FakeNft();
  const dataplane = dataplaneWith(nft);
  const view = viewWith('10.42.0.2');
  await dataplane.sync(view, options, signal);
  const [ruleset] = dataplane.rulesets;
  assert.ok(ruleset !== undefined);
  const chains = new Map([...ruleset.chains.keys(), 'services'].map((name) => [name, 'rules']));
  nft.table = { elements: elementsOf(ruleset), clients: [], chains };
  assert.equal(await dataplane.verify(signal), true);
  assert.equal(await dataplane.sync(view, options, signal), 'none');
  nft.table = { ...nft.table, chains: new Map([...chains, ['services', 'other rules']]) };
  assert.equal(await dataplane.verify(signal), false);
  assert.equal(await dataplane.sync(view, options, signal), 'full');
  nft.table = { ...nft.table, elements: new Map(), chains };
  assert.equal(await dataplane.verify(signal), false);
});

test('dataplane: the table is read back only when somebody else made a transaction', async () => {
  const nft = new FakeNft();
  nft.count = 7;
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  await dataplane.sync(viewWith('10.42.0.3'), options, signal);
  nft.table = listingOf(dataplane.rulesets);
  const readsFor = async (before: () => void): Promise<readonly [boolean, readonly string[]]> => {
    before();
    nft.reads.length = 0;
    return [await dataplane.verify(signal), [...nft.reads]];
  };
  assert.deepEqual(await readsFor(() => {}), [true, ['chains']], 'once, to learn how nft words the chains');
  assert.deepEqual(await readsFor(() => {}), [true, []]);
  assert.deepEqual(await readsFor(() => void (nft.count = 50)), [true, ['all']]);
  assert.deepEqual(await readsFor(() => {}), [true, []]);
  assert.deepEqual(
    await readsFor(() => {
      nft.count = 99;
      nft.table = { ...nft.table, elements: new Map() };
    }),
    [false, ['all']],
  );
  await dataplane.sync(viewWith('10.42.0.3'), options, signal);
  assert.equal(nft.scripts.length, 3, 'replaced');
});

test('dataplane: rules changed by somebody before ours were ever read back are no reference', async () => {
  const nft = new FakeNft();
  nft.count = 7;
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  nft.table = { ...listingOf(dataplane.rulesets), chains: new Map([['guard', 'drop all']]) };
  nft.count = 50;
  assert.equal(await dataplane.verify(signal), false);
  assert.equal(await dataplane.sync(viewWith('10.42.0.2'), options, signal), 'full');
});

test('dataplane: rules changed by somebody while they are read for the first time are no reference', async () => {
  const nft = new FakeNft();
  nft.count = 7;
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  const right = listingOf(dataplane.rulesets);
  nft.table = { ...right, chains: new Map([...right.chains].map(([name]) => [name, 'drop all'])) };
  const read = nft.read.bind(nft);
  nft.read = (...args) => {
    nft.count = 50;
    return read(...args);
  };
  await dataplane.verify(signal);
  assert.equal(await dataplane.verify(signal), false, 'at the next look');
  assert.equal(await dataplane.sync(viewWith('10.42.0.2'), options, signal), 'full');
});

test('dataplane: a transaction of somebody else just before or after ours is not missed', async () => {
  const nft = new FakeNft();
  nft.count = 7;
  const dataplane = dataplaneWith(nft);
  await dataplane.sync(viewWith('10.42.0.2'), options, signal);
  nft.table = listingOf(dataplane.rulesets);
  await dataplane.verify(signal);
  for (const disturb of [() => (nft.count = 20), () => (nft.disturbNext = true)]) {
    disturb();
    await dataplane.sync(viewWith(`10.42.0.${nft.count + 3}`), options, signal);
    nft.table = listingOf(dataplane.rulesets);
    nft.reads.length = 0;
    assert.equal(await dataplane.verify(signal), true);
    assert.deepEqual(nft.reads, ['all']);
  }
});

test('dataplane: flows of endpoints that left are forgotten, once there is a UDP Service', async () => {
  const conntrack = new FakeConntrack();
  const flow = { source: '10.42.0.9', sourcePort: 4000, destination: '10.43.0.5', port: 53 };
  conntrack.flows = [
    { ...flow, backend: '10.42.0.2', backendPort: 53 },
    { ...flow, sourcePort: 4001, backend: '10.42.0.3', backendPort: 53 },
  ];
  const dataplane = dataplaneWith(new FakeNft(), conntrack);
  const service = serviceOf('dns', '10.43.0.5', { ports: [{ port: 53, protocol: 'UDP' }] });
  const slice = sliceOf('dns', ['10.42.0.3'], [{ name: '', port: 53, protocol: 'UDP' }]);
  const view = buildNodeView([service], [slice], nodeFacts);
  await dataplane.sync(view, options, signal);
  assert.deepEqual(await dataplane.forgetStaleFlows(signal), { 4: 1, 6: 0 });
  assert.deepEqual(
    conntrack.flows.map(({ backend }) => backend),
    ['10.42.0.3'],
  );
  const without = buildNodeView([], [], nodeFacts);
  await dataplane.sync(without, options, signal);
  assert.deepEqual(await dataplane.forgetStaleFlows(signal), { 4: 1, 6: 0 });
  assert.deepEqual(conntrack.flows, []);
});

test('dataplane: flows are judged by the rules of when they have been read, not of before', async () => {
  const conntrack = new FakeConntrack();
  const flow = { source: '10.42.0.9', sourcePort: 4000, destination: '10.43.0.5', port: 53 };
  conntrack.flows = [
    { ...flow, backend: '10.42.0.2', backendPort: 53 },
    { ...flow, sourcePort: 4001, backend: '10.42.0.3', backendPort: 53 },
  ];
  const dataplane = dataplaneWith(new FakeNft(), conntrack);
  const service = serviceOf('dns', '10.43.0.5', { ports: [{ port: 53, protocol: 'UDP' }] });
  const viewOf = (pod: string) =>
    buildNodeView([service], [sliceOf('dns', [pod], [{ name: '', port: 53, protocol: 'UDP' }])], nodeFacts);
  await dataplane.sync(viewOf('10.42.0.2'), options, signal);
  const read = conntrack.udpFlows.bind(conntrack);
  conntrack.udpFlows = async () => {
    await dataplane.sync(viewOf('10.42.0.3'), options, signal);
    return read();
  };
  await dataplane.forgetStaleFlows(signal);
  assert.deepEqual(
    conntrack.flows.map(({ backend }) => backend),
    ['10.42.0.3'],
  );
});

test('listing: elements come back in the words that we write, clients with their time', () => {
  const entry = (name: string, rest: object) => ({ map: { name, map: 'verdict', ...rest } });
  const text = JSON.stringify({
    nftables: [
      { metainfo: {} },
      entry('vips', {
        elem: [[{ concat: ['10.43.0.5', 'tcp', 80] }, { goto: { target: 'vips-tcp-1' } }]],
      }),
      entry('vips_tcp_affine', {
        elem: [[{ concat: ['10.43.0.5', 80, 255] }, { concat: ['10.42.0.2', 8080] }]],
      }),
      entry('vips_choices', { elem: [[{ concat: ['10.43.0.5', 'tcp', 80, 0] }, 255]] }),
      entry('vips_clients', {
        elem: [
          [{ elem: { val: { concat: ['10.43.0.5', 'tcp', 80, '10.42.0.9'] }, timeout: 9, expires: 3 } }, 255],
        ],
      }),
      { set: { name: 'cluster_ranges', elem: ['10.41.0.2', { prefix: { addr: '10.42.0.0', len: 16 } }] } },
      { chain: { name: 'services', handle: 3 } },
      { rule: { chain: 'services', handle: 4, expr: [{ drop: null }] } },
    ],
  });
  const table = parseListing(text);
  assert.deepEqual(
    [...table.elements.values()].map(({ set, key, value }) => `${set} ${key} : ${value}`),
    [
      'vips 10.43.0.5 . tcp . 80 : goto vips-tcp-1',
      'vips_tcp_affine 10.43.0.5 . 80 . 0x000000ff : 10.42.0.2 . 8080',
      'vips_choices 10.43.0.5 . tcp . 80 . 0 : 0x000000ff',
      'cluster_ranges 10.41.0.2 : ',
      'cluster_ranges 10.42.0.0/16 : ',
    ],
  );
  assert.deepEqual(table.clients, [
    {
      map: 'vips_clients',
      key: '10.43.0.5 . tcp . 80 . 10.42.0.9',
      value: '0x000000ff',
      timeoutSeconds: 9,
      expiresSeconds: 3,
    },
  ]);
  assert.ok(!table.chains.get('services')?.includes('handle'));
  assert.throws(() => parseListing('{}'), SyntaxError);
});

test('dataplane: where the kernel does not track SCTP, each port of it is told once', async () => {
  const conntrack = new FakeConntrack();
  const problems: string[] = [];
  const dataplane = dataplaneWith(new FakeNft(), conntrack, ({ service, reason, message }) =>
    problems.push(`${service} ${reason} ${message}`),
  );
  const view = (...ports: readonly number[]) => {
    const all = ports.map((port) => ({ name: `p${port}`, port, protocol: 'SCTP' }));
    return buildNodeView([serviceOf('tel', '10.43.0.5', { ports: all })], [], nodeFacts);
  };
  await dataplane.sync(view(2905), options, signal);
  assert.deepEqual(problems, []);
  conntrack.sctp = false;
  for (const ports of [[2905, 2906], [2905, 2906], [2906]])
    await dataplane.sync(view(...ports), options, signal);
  assert.deepEqual(problems, [
    'default/tel SCTPNotSupported the kernel does not track SCTP: port 2906 is not served',
  ]);
});
