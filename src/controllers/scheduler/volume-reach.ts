import type { Node, PersistentVolume } from '../../api/gen/core-v1.ts';
import { matchesTerm } from './node-match.ts';

/** True where the volume can be reached from the node. */
export function isReachable(node: Node, { spec }: PersistentVolume): boolean {
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}
