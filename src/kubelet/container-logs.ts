import { join } from 'node:path';
import type { Pod } from '../api/gen/core-v1.ts';
import { LogFormatter, type LogQuery, parseLogLine } from './log-lines.ts';
import { readLines } from './log-reader.ts';
import { containerLogPath, type NodePaths, podLogDir } from './pod-paths.ts';
import { containersOf } from './runtime-pod.ts';
import type { RuntimeView } from './runtime-view.ts';

/** The log cannot be shown; `message` is for the user. */
export class LogError extends Error {
  override readonly name = 'LogError';
}

/** Names a file of plain lines that is the log of a Pod's process. */
export const logFileAnnotation = 'fairlead.dev/log-file';

/** One container's log as the query asks for it. Throws LogError before the first piece. */
export async function openContainerLog(
  pod: Pod,
  container: string,
  query: LogQuery,
  deps: { readonly view: RuntimeView; readonly paths: NodePaths },
  signal: AbortSignal,
): Promise<AsyncGenerator<Buffer, void, void>> {
  const plainFile = pod.metadata?.annotations?.[logFileAnnotation];
  if (plainFile !== undefined) return limited(plainLog(plainFile, query, signal), query.limitBytes);
  const uid = pod.metadata?.uid ?? '';
  const [newest, before] = containersOf(await deps.view.podOf(uid), container);
  const chosen = query.previous ? before : newest;
  if (chosen === undefined) {
    const name = pod.metadata?.name;
    if (query.previous)
      throw new LogError(`previous terminated container "${container}" in pod "${name}" not found`);
    throw new LogError(
      `container "${container}" in pod "${name}" is waiting to start: ${waitingReason(pod, container)}`,
    );
  }
  const path = join(podLogDir(deps.paths, pod), containerLogPath(container, chosen.attempt));
  const isRunning = async () => {
    const { containers } = await deps.view.podOf(uid);
    return containers.find(({ id }) => id === chosen.id)?.state === 'running';
  };
  const options = { tailLines: query.tailLines, follow: query.follow ? isRunning : undefined };
  return limited(formatted(readLines(path, options, signal), query), query.limitBytes);
}

function waitingReason(pod: Pod, container: string): string {
  const {
    containerStatuses = [],
    initContainerStatuses = [],
    ephemeralContainerStatuses = [],
  } = pod.status ?? {};
  const statuses = [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses];
  const state = statuses.find(({ name }) => name === container)?.state;
  return state?.waiting?.reason ?? 'ContainerCreating';
}

async function* formatted(
  lines: AsyncGenerator<Buffer, void, void>,
  query: LogQuery,
): AsyncGenerator<Buffer, void, void> {
  const formatter = new LogFormatter(query);
  for await (const line of lines) {
    const parsed = parseLogLine(line);
    if (parsed !== undefined) yield* formatter.format(parsed);
  }
}

async function* plainLog(
  path: string,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const follow = query.follow ? async () => !signal.aborted : undefined;
  for await (const line of readLines(path, { tailLines: query.tailLines, follow }, signal)) {
    yield Buffer.concat([line, Buffer.from('\n')]);
  }
}

async function* limited(
  pieces: AsyncGenerator<Buffer, void, void>,
  bytesMax: number | undefined,
): AsyncGenerator<Buffer, void, void> {
  let left = bytesMax ?? Number.POSITIVE_INFINITY;
  for await (const piece of pieces) {
    yield piece.length <= left ? piece : piece.subarray(0, left);
    left -= piece.length;
    if (left <= 0) return;
  }
}
