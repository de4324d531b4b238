/** CNI network of one node. */
export type CniOptions = {
  readonly podCidrs: readonly string[]; // this node's, "10.42.0.0/24"
  /** Where host-local keeps which address is whose. */
  readonly dataDir: string;
  /** Bytes; of the Pods' interfaces. */
  readonly mtu: number;
};

export const cniConfigFile = '10-fairlead.conflist';

/** The plugin that `renderPtpScript` makes. */
export const ptpScript = 'fairlead-ptp';

const isIpv6 = (text: string): boolean => text.includes(':');

/**
 * The node's CNI configuration: each Pod hangs on a veth pair of its own, with a host route to it. So every packet is
 * routed, and the node's rules see both directions of every connection; on a shared bridge the answers between two Pods of
 * a node would pass them by unless br_netfilter is loaded. No masquerading here: the service proxy does that.
 * Spec: CNI 0.4.0 (the newest that Debian 12's plugins and containerd 1.6 share).
 */
export function renderCniConfig(options: CniOptions): string {
  const config = {
    cniVersion: '0.4.0',
    name: 'fairlead',
    plugins: [
      {
        type: options.podCidrs.some(isIpv6) ? ptpScript : 'ptp',
        ipMasq: false,
        mtu: options.mtu,
        ipam: {
          type: 'host-local',
          dataDir: options.dataDir,
          ranges: options.podCidrs.map((subnet) => [{ subnet }]),
          routes: options.podCidrs.map((cidr) => ({ dst: isIpv6(cidr) ? '::/0' : '0.0.0.0/0' })),
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}

/**
 * A CNI plugin that becomes `ptp` in a namespace whose interfaces come up without duplicate address detection. host-local gives
 * no address twice, and ptp would wait for that detection: one to two seconds at the start of every Pod with an IPv6 address.
 * A plugin of the chain comes too late for it, since the interface is made by then.
 */
export function renderPtpScript(cniBinDir: string): string {
  return `#!/bin/sh
set -e
if [ "$CNI_COMMAND" = ADD ]; then
  nsenter --net="$CNI_NETNS" sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad'
fi
exec '${cniBinDir.replaceAll("'", "'\\''")}/ptp'
`;
}
