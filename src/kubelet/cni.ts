/** CNI network of one node. */
export type CniOptions = {
  readonly podCidrs: readonly string[]; // this node's, "10.42.0.0/24"
  /** Where host-local keeps which address is whose. */
  readonly dataDir: string;
  /** Bytes; of the bridge and of the Pods' interfaces. */
  readonly mtu: number;
};

export const cniConfigFile = '10-fairlead.conflist';
export const cniBridge = 'cni0';

/**
 * The node's CNI configuration: bridge `cni0` with the node's address as gateway. No masquerading here, the service proxy
 * does that; hairpin mode, because a Pod may reach itself through its Service.
 * Spec: CNI 0.4.0 (the newest that Debian 12's plugins and containerd 1.6 share).
 */
export function renderCniConfig(options: CniOptions): string {
  const config = {
    cniVersion: '0.4.0',
    name: 'fairlead',
    plugins: [
      {
        type: 'bridge',
        bridge: cniBridge,
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        mtu: options.mtu,
        ipam: {
          type: 'host-local',
          dataDir: options.dataDir,
          ranges: options.podCidrs.map((subnet) => [{ subnet }]),
          routes: options.podCidrs.map((cidr) => ({ dst: cidr.includes(':') ? '::/0' : '0.0.0.0/0' })),
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  };
  return `${JSON.stringify(config, undefined, 2)}\n`;
}
