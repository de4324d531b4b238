import type { ProxyContext } from '../proxy/context.ts';
import { editFields, withoutField } from '../http1/head-edit.ts';
import type { RequestHead } from '../http1/http1-parse.ts';
import type { MirrorPolicy } from './policy.ts';
import type { ReplayBuffer } from '../http1/replay.ts';
import { SideRequest } from './side-request.ts';

/** Mirrored requests under way in one worker. Beyond, requests are not mirrored, which is counted. */
export const mirrorsMax = 256;
const connectTimeoutMs = 1_000;
const answerTimeoutMs = 10_000;

/**
 * Sends a copy of a request that has gone out whole. Nobody waits for it and its answer is dropped; a body beyond what is kept
 * for sending it again is not copied, and neither is its request.
 * @param text the head as the backend got it
 */
export function mirrorRequest(
  context: ProxyContext,
  { backend, authority, withBody }: MirrorPolicy,
  {
    head,
    text,
    body,
    unframed,
  }: {
    readonly head: RequestHead;
    readonly text: string;
    readonly body: ReplayBuffer | undefined;
    readonly unframed: boolean;
  },
): void {
  const { metrics } = context;
  const endpoint = context.live.states[backend]?.choose(undefined, undefined, context.nowMs());
  const tooLarge = withBody && head.body !== 'none' && body?.overflown !== false;
  if (endpoint === undefined || tooLarge || metrics.mirrorsOpen >= mirrorsMax) {
    metrics.mirrorsDropped += 1;
    return;
  }
  let copy = editFields(text, [{ name: 'Host', value: authority }]);
  if (!withBody) {
    for (const name of ['Content-Length', 'Transfer-Encoding', 'Expect']) copy = withoutField(copy, name);
  }
  const data = withBody && body !== undefined ? { data: body.bytes(), unframed } : undefined;
  metrics.mirrorsOpen += 1;
  metrics.mirrors += 1;
  const options = { connectTimeoutMs, answerTimeoutMs, body: data };
  new SideRequest(context, endpoint, copy, options, () => {
    metrics.mirrorsOpen -= 1;
  }).start();
}
