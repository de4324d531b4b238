import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayLowerOomScore, renderContainerdConfig } from './containerd-config.ts';

const paths = {
  root: '/d/containerd',
  state: '/r/containerd',
  socket: '/r/containerd.sock',
  configFile: '/d/containerd.toml',
  pidFile: '/r/containerd.pid',
  logFile: '/d/containerd.log',
  cniConfigDir: '/d/cni',
};

for (const { name, capabilities, want } of [
  { name: 'root', capabilities: '000001ffffffffff', want: true },
  {
    name: 'root of a machine that withholds CAP_SYS_RESOURCE',
    capabilities: '000001fffeffffff',
    want: false,
  },
  { name: 'nobody', capabilities: '0000000000000000', want: false },
] as const) {
  test(`containerd: sandboxes start also where ${name} may not lower an out-of-memory score`, () => {
    const may = mayLowerOomScore(`Name:\tnode\nCapEff:\t${capabilities}\nCapBnd:\t0\n`);
    assert.equal(may, want);
    const options = {
      sandboxImage: 'pause',
      cniBinDir: '/usr/lib/cni',
      registriesDir: '/d/registries',
      mayLowerOomScore: may,
    };
    assert.match(renderContainerdConfig(paths, options), new RegExp(`restrict_oom_score_adj = ${!want}`));
  });
}
