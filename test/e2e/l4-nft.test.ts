/** One suite for every implementation of the port `Nft`, against the kernel, in a network namespace of this process. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSpawnedNft, type Nft, NftError } from '../../src/l4/apply.ts';
import { compileRuleset } from '../../src/l4/compile.ts';
import { openGenerationReader } from '../../src/l4/generation.ts';
import { diffElements, diffRulesets } from '../../src/l4/diff.ts';
import {
  createMixedNft,
  type LibraryNft,
  libraryScriptCharactersMax,
  openLibraryNft,
} from '../../src/l4/libnftables.ts';
import { renderChange, renderFull, renderRemoval } from '../../src/l4/render.ts';
import { elementsOf, type Ruleset } from '../../src/l4/ruleset.ts';
import { tracePacket } from '../../src/l4/trace.ts';
import { buildNodeView } from '../../src/model/view.ts';
import { enterNewNetworkNamespace } from '../support/namespace.ts';
import { nodeFacts, serviceOf, sliceOf } from '../support/services.ts';
import { run } from '../support/shell.ts';

const options = { clusterCidrs: ['10.42.0.0/16'], serviceCidrs: ['10.43.0.0/16'], clusterNodeAddresses: [] };
const { signal } = new AbortController();
const skip = await reasonToSkip();
const tool = createSpawnedNft();
const library = skip === false ? await openLibraryNft().catch(() => undefined) : undefined;

async function reasonToSkip(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'needs root for a network namespace';
  const reason = await enterNewNetworkNamespace();
  if (reason !== undefined) return reason;
  const listed = await run('nft', ['list', 'tables']).catch(() => undefined);
  return listed?.code === 0 ? false : 'needs nft and permission to use it';
}

function rulesetOf(services: number, pods: readonly string[]): Ruleset {
  const names = Array.from({ length: services }, (_, index) => `web-${index}`);
  const view = buildNodeView(
    names.map((name, index) => serviceOf(name, `10.43.${index >> 8}.${index & 255}`)),
    names.map((name) => sliceOf(name, pods)),
    nodeFacts,
  );
  return compileRuleset(view, 4, options);
}

const small = rulesetOf(3, ['10.42.0.2', '10.42.0.3']);

async function assertKernelHas(wanted: Ruleset): Promise<void> {
  const { elements } = await tool.read(4, signal);
  assert.deepEqual(diffElements(elements, elementsOf(wanted)), { toDelete: [], toAdd: [] });
}

function conformance(name: string, skipped: string | false, of: () => Nft): void {
  const check = (what: string, body: (nft: Nft) => Promise<void>): void => {
    test(`l4 nft by ${name}: ${what}`, { skip: skipped }, async () => {
      try {
        await body(of());
      } finally {
        await tool.run(renderRemoval(4), signal);
      }
    });
  };
  check('no table reads as an empty one', async (nft) => {
    const { elements, chains } = await nft.read(4, signal);
    assert.deepEqual([elements.size, chains.size], [0, 0]);
  });
  check('a whole table is applied and read back as it was meant', async (nft) => {
    await nft.run(renderFull(small), signal);
    await assertKernelHas(small);
    const { elements } = await nft.read(4, signal);
    assert.deepEqual(diffElements(elements, elementsOf(small)), { toDelete: [], toAdd: [] });
  });
  check('chains are read alone, and what a map remembers of clients', async (nft) => {
    assert.deepEqual(await nft.readClients(4, 'vips_clients', signal), []);
    const client = { map: 'vips_clients', key: '10.43.0.0 . tcp . 80 . 10.42.0.9' } as const;
    const remembered = { ...client, value: '0x00000001', timeoutSeconds: 9000, expiresSeconds: 8000 };
    await nft.run(renderFull(small, [remembered]), signal);
    const [found, ...more] = await nft.readClients(4, 'vips_clients', signal);
    assert.deepEqual(more, []);
    const { expiresSeconds = 0, ...rest } = found ?? {};
    assert.deepEqual(rest, { ...client, value: '0x00000001', timeoutSeconds: 9000 });
    assert.ok(expiresSeconds > 7000 && expiresSeconds <= 8000);
    const { elements, chains } = await nft.read(4, signal, 'chains');
    assert.equal(elements.size, 0);
    assert.deepEqual(chains, (await tool.read(4, signal)).chains);
  });
  check('changes and their reverse are applied', async (nft) => {
    const other = rulesetOf(4, ['10.42.0.9', '10.42.0.3', '10.42.0.4']);
    await nft.run(renderFull(small), signal);
    for (let round = 0; round < 3; round++) {
      await nft.run(renderChange(diffRulesets(small, other)), signal);
      await assertKernelHas(other);
      await nft.run(renderChange(diffRulesets(other, small)), signal);
      await assertKernelHas(small);
    }
  });
  check('what the kernel does not take changes nothing and says why', async (nft) => {
    await nft.run(renderFull(small), signal);
    const good = 'add element ip fairlead hairpins { 10.42.0.77 . 10.42.0.77 }\n';
    const bad = 'delete element ip fairlead hairpins { 10.42.0.78 . 10.42.0.78 }\n';
    for (const script of [good + bad, 'add element ip fairlead nothing { 1 }\n', 'no command at all\n']) {
      await assert.rejects(nft.run(script, signal), (error: unknown) => {
        assert.ok(error instanceof NftError);
        assert.equal(error.code, 'refused');
        assert.match(error.message, /nft refused the rules: .+/);
        return true;
      });
    }
    await assertKernelHas(small);
  });
  check('changes made by somebody else in between are met', async (nft) => {
    const other = rulesetOf(2, ['10.42.0.9']);
    await nft.run(renderFull(small), signal);
    await tool.run(renderFull(other), signal);
    await nft.run(renderChange(diffRulesets(other, small)), signal);
    await assertKernelHas(small);
    await tool.run(renderRemoval(4), signal);
    await assert.rejects(nft.run(renderChange(diffRulesets(small, other)), signal), NftError);
    await nft.run(renderFull(small), signal);
    await assertKernelHas(small);
  });
  check('a script of a thousand Services is applied', async (nft) => {
    const many = rulesetOf(1000, ['10.42.0.2', '10.42.0.3']);
    assert.ok(renderFull(many).length > libraryScriptCharactersMax);
    await nft.run(renderFull(many), signal);
    await assertKernelHas(many);
  });
  check('rules for SCTP and UDP are taken like those for TCP', async (nft) => {
    const ports = (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({
      name: protocol,
      protocol,
      port: 80,
    }));
    const slicePorts = ports.map(({ name, protocol }) => ({ name, protocol, port: 8080 }));
    const rulesOf = (pods: readonly string[]): Ruleset =>
      compileRuleset(
        buildNodeView(
          [serviceOf('web', '10.43.0.5', { ports, sessionAffinity: 'ClientIP' })],
          [sliceOf('web', pods, slicePorts)],
          nodeFacts,
        ),
        4,
        options,
      );
    const [before, now] = [rulesOf(['10.42.0.2']), rulesOf(['10.42.0.2', '10.42.0.3'])];
    await nft.run(renderFull(before), signal);
    await nft.run(renderChange(diffRulesets(before, now)), signal);
    await assertKernelHas(now);
    const packet = { origin: 'network', source: '10.42.0.9', destination: '10.43.0.5', port: 80 } as const;
    const fate = tracePacket(now, nodeFacts.addresses, { ...packet, protocol: 'sctp', draw: 1 });
    assert.equal(fate.kind === 'forward' && fate.address, '10.42.0.3');
  });
  check('an aborted signal is told before anything is done', async (nft) => {
    await assert.rejects(nft.run(renderFull(small), AbortSignal.abort(new Error('stopped'))), /stopped/);
    assert.equal((await nft.read(4, signal)).chains.size, 0);
  });
}

const present = (): LibraryNft => {
  if (library === undefined) throw new Error('no libnftables');
  return library;
};
const skipLibrary = skip !== false ? skip : library === undefined ? 'needs libnftables' : false;

conformance('the nft tool', skip, () => tool);
conformance('libnftables', skipLibrary, present);
conformance('both', skipLibrary, () => createMixedNft(present(), tool));

test('l4 nft: only small changes of elements are made in this process', async () => {
  const calls: string[] = [];
  const recorder = (name: string): Nft => ({
    run: (script) => Promise.resolve(void calls.push(`${name} ${script.slice(0, 6)}`)),
    read: () => Promise.reject(new Error('not asked')),
    readClients: () => Promise.reject(new Error('not asked')),
    generation: () => undefined,
  });
  const nft = createMixedNft(recorder('library'), recorder('tool'));
  await nft.run('delete element ip fairlead hairpins { 1 }\n', signal);
  await nft.run('table ip fairlead {\n}\nadd element ip fairlead hairpins { 1 }\n', signal);
  await nft.run(`add element ip fairlead hairpins { ${'1, '.repeat(libraryScriptCharactersMax)} }\n`, signal);
  assert.deepEqual(calls, ['library delete', 'tool table ', 'tool add el']);
});

test('l4 nft: a closed context is an error, not a crash', { skip: skipLibrary }, async () => {
  const own = await openLibraryNft();
  own.close();
  own.close();
  await assert.rejects(own.run('', signal), NftError);
});

test('l4 nft: the kernel counts every transaction, ours and others’, and no listing', { skip }, async () => {
  const reader = await openGenerationReader();
  try {
    const start = reader.read() ?? 0;
    await tool.run(renderFull(small), signal);
    assert.equal(reader.read(), start + 1);
    await tool.read(4, signal);
    assert.equal(reader.read(), start + 1);
    await (library ?? tool).run('add element ip fairlead hairpins { 10.42.0.77 . 10.42.0.77 }\n', signal);
    assert.equal(reader.read(), start + 2);
    await assert.rejects(tool.run('add element ip fairlead nothing { 1 }\n', signal));
    assert.equal(reader.read(), start + 2);
  } finally {
    reader.close();
    await tool.run(renderRemoval(4), signal);
  }
});
