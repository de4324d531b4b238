import { BlockList } from 'node:net';

/** Where no way out of the cluster may lead: this machine itself, and addresses that mean no certain machine. */
export const notTheWorld = new BlockList();
notTheWorld.addSubnet('0.0.0.0', 8);
notTheWorld.addSubnet('127.0.0.0', 8);
notTheWorld.addSubnet('169.254.0.0', 16);
notTheWorld.addSubnet('224.0.0.0', 3);
notTheWorld.addAddress('::', 'ipv6');
notTheWorld.addAddress('::1', 'ipv6');
notTheWorld.addSubnet('fe80::', 10, 'ipv6');
notTheWorld.addSubnet('ff00::', 8, 'ipv6');
