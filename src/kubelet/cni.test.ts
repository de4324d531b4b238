import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderCniConfig, renderPtpScript } from './cni.ts';

function pluginOf(podCidrs: readonly string[]) {
  const config = JSON.parse(renderCniConfig({ podCidrs, dataDir: '/ipam', mtu: 1500 })) as {
    plugins: { type: string; ipam: { ranges: unknown; routes: unknown } }[];
  };
  return config.plugins[0];
}

test('CNI: IPv4 alone is plain ptp', () => {
  const plugin = pluginOf(['10.42.0.0/24']);
  assert.equal(plugin?.type, 'ptp');
  assert.deepEqual(plugin.ipam.ranges, [[{ subnet: '10.42.0.0/24' }]]);
});

test('CNI: two families are two ranges, so that a Pod has an address and a default route of each', () => {
  const plugin = pluginOf(['10.42.0.0/24', 'fd00:0:0:4200::/64']);
  assert.equal(plugin?.type, 'fairlead-ptp');
  assert.deepEqual(plugin.ipam.ranges, [[{ subnet: '10.42.0.0/24' }], [{ subnet: 'fd00:0:0:4200::/64' }]]);
  assert.deepEqual(plugin.ipam.routes, [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]);
});

test('CNI: the plugin of IPv6 ends as the machine’s own ptp', () => {
  assert.match(
    renderPtpScript('/opt/cni/bin'),
    /^#!\/bin\/sh\n[^]*accept_dad[^]*\nexec '\/opt\/cni\/bin\/ptp'\n$/,
  );
  assert.ok(renderPtpScript("/it's/bin").endsWith("exec '/it'\\''s/bin/ptp'\n"), 'a quote in the path');
});
