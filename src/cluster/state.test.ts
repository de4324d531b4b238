import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import type { ClusterConfig } from './config.ts';
import { pickApiPort } from './ports.ts';
import {
  type BaseDirs,
  clusterNames,
  findState,
  forgetDataDir,
  otherApiPorts,
  rememberDataDir,
  writeState,
} from './state.ts';

describe('cluster state', () => {
  let folder: string;
  let dirs: BaseDirs;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fairlead-state-'));
    dirs = { data: join(folder, 'lib'), run: join(folder, 'run') };
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Writes the state of a cluster, as `up` does. */
  const start = async (name: string, dataDir = join(dirs.data, name)): Promise<ClusterConfig> => {
    const config: ClusterConfig = {
      name,
      agents: 0,
      published: [],
      ingressClasses: ['fairlead'],
      dataDir,
      runDir: join(dirs.run, name),
      egress: 'none',
      cniBinDir: '/usr/lib/cni',
      apiPort: 6443,
    };
    for (const dir of [config.dataDir, config.runDir]) mkdirSync(dir, { recursive: true });
    await writeState({ config, startedAtMs: 0 });
    await rememberDataDir(config, dirs);
    return config;
  };
  const restartMachine = (): void => rmSync(dirs.run, { recursive: true });

  for (const { name, dataDir } of [
    { name: 'at the default place', dataDir: undefined },
    { name: 'in a directory that the user chose', dataDir: 'elsewhere' },
  ]) {
    test(`a restart of the machine does not lose a cluster with its data ${name}`, async () => {
      const config = await start('dev', dataDir === undefined ? undefined : join(folder, dataDir));
      restartMachine();
      assert.deepEqual((await findState('dev', dirs))?.config, config);
      assert.deepEqual(clusterNames(dirs), ['dev']);
    });
  }

  test('what is forgotten is found only by whoever says where it is', async () => {
    const config = await start('dev', join(folder, 'elsewhere'));
    restartMachine();
    forgetDataDir('dev', dirs);
    assert.equal(await findState('dev', dirs), undefined);
    assert.deepEqual((await findState('dev', dirs, config.dataDir))?.config, config);
    assert.deepEqual(clusterNames(dirs), []);
  });

  test("another cluster's directory is not taken for this one's", async () => {
    const { dataDir } = await start('dev');
    assert.equal(await findState('other', dirs, dataDir), undefined);
  });

  test('running and stopped clusters are listed once each', async () => {
    await start('b');
    await start('c', join(folder, 'elsewhere'));
    restartMachine();
    await start('a');
    assert.deepEqual(clusterNames(dirs), ['a', 'b', 'c']);
  });

  test('a cluster that has not begun to listen yet keeps its API port from one that is started beside it', async () => {
    await start('a');
    assert.deepEqual([...(await otherApiPorts('b', dirs))], [6443]);
    assert.deepEqual([...(await otherApiPorts('a', dirs))], [], 'its own is its own');
    assert.notEqual(pickApiPort(await otherApiPorts('b', dirs)), 6443);
  });
});
