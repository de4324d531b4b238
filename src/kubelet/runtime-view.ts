import { open } from 'node:fs/promises';
import type { Clock } from '../base/clock.ts';
import { containerAnnotations } from './container-config.ts';
import type { Cri } from './cri.ts';
import type { CriContainerStatus } from './cri-messages.ts';
import { containerStates } from './cri-messages.ts';
import { isGrpcError } from '../base/grpc.ts';
import { LogFormatter, type LogQuery, parseLogLine } from './log-lines.ts';
import { type NodePaths, terminationMessageFile } from './pod-paths.ts';
import {
  byNewest,
  parseContainer,
  parseSandbox,
  type RuntimeContainer,
  type RuntimePod,
} from './runtime-pod.ts';
import { runtimeLabels } from './sandbox-config.ts';

/** Longest termination message that is shown, bytes. Kubernetes' own limit. */
const messageBytesMax = 4096;
/** Of a log that stands in for a message, characters; and how much of the file is read for it, with the heads of its lines, bytes. */
const messageFromLogMax = 2048;
const logEndBytesMax = 8192;
const plainLog: LogQuery = {
  follow: false,
  previous: false,
  timestamps: false,
  tailLines: undefined,
  limitBytes: undefined,
  sinceMs: undefined,
};
/** How long after its task's end CRI may still call a container running, ms; both hear of it from the same event. */
const settleMaxMs = 2_000;
const settlePollMs = 5;

export type KnownPod = {
  readonly name: string;
  readonly namespace: string;
  /** Changes whenever a container or sandbox of the Pod does. */
  readonly fingerprint: string;
};

/** What the runtime holds, by Pod. */
export type RuntimeView = {
  podOf(uid: string): Promise<RuntimePod>;
  /** All Pods that the runtime knows, by uid. */
  knownPods(): Promise<ReadonlyMap<string, KnownPod>>;
  /** The Pod whose container or sandbox that is, as far as it has been seen. */
  podUidOf(containerOrSandboxId: string): string | undefined;
  /** Resolves when CRI, too, knows that the container or sandbox does not run any more. */
  whenSettled(containerOrSandboxId: string): Promise<void>;
};

export function createRuntimeView(cri: Cri, paths: NodePaths, clock: Clock): RuntimeView {
  const uidOfId = new Map<string, string>(); // emptied by every knownPods(), so it cannot grow for ever

  async function containersOfPod(uid: string): Promise<RuntimeContainer[]> {
    const labelSelector = { [runtimeLabels.podUid]: uid };
    const { containers } = await cri.listContainers({ filter: { labelSelector } });
    const parsed = await Promise.all(
      containers.map(async (listed) => {
        uidOfId.set(listed.id, uid);
        const status = await containerStatus(cri, listed.id);
        if (status === undefined) return undefined; // removed between the two calls
        const container = parseContainer(listed, status);
        const message = await terminationMessage(container, status, paths, uid);
        return { ...container, message };
      }),
    );
    return parsed.filter((container) => container !== undefined).toSorted(byNewest);
  }

  return {
    async podOf(uid) {
      const labelSelector = { [runtimeLabels.podUid]: uid };
      const [containers, { items }] = await Promise.all([
        containersOfPod(uid),
        cri.listPodSandbox({ filter: { labelSelector } }),
      ]);
      const sandboxes = await Promise.all(
        items.map(async (item) => {
          uidOfId.set(item.id, uid);
          return parseSandbox(item, await sandboxIps(cri, item.id));
        }),
      );
      return { sandboxes: sandboxes.toSorted(byNewest), containers };
    },
    async knownPods() {
      const [{ containers }, { items }] = await Promise.all([cri.listContainers({}), cri.listPodSandbox({})]);
      const known = new Map<string, KnownPod>();
      uidOfId.clear();
      for (const { id, state, labels } of [...containers, ...items].toSorted((a, b) =>
        a.id < b.id ? -1 : 1,
      )) {
        const uid = labels[runtimeLabels.podUid];
        if (uid === undefined) continue; // made by somebody else: not ours to touch
        uidOfId.set(id, uid);
        known.set(uid, {
          name: labels[runtimeLabels.podName] ?? '',
          namespace: labels[runtimeLabels.podNamespace] ?? '',
          fingerprint: `${known.get(uid)?.fingerprint ?? ''} ${id}:${state}`,
        });
      }
      return known;
    },
    podUidOf: (id) => uidOfId.get(id),
    async whenSettled(id) {
      const startMs = clock.monotonicMs();
      while (clock.monotonicMs() - startMs < settleMaxMs) {
        const status = await containerStatus(cri, id);
        if (status === undefined || status.state !== containerStates.running) return;
        await clock.sleep(settlePollMs);
      }
    },
  };
}

async function containerStatus(cri: Cri, containerId: string): Promise<CriContainerStatus | undefined> {
  try {
    return (await cri.containerStatus({ containerId })).status;
  } catch (error) {
    if (isGrpcError(error, 'NOT_FOUND')) return undefined;
    throw error;
  }
}

async function sandboxIps(cri: Cri, podSandboxId: string): Promise<readonly string[]> {
  try {
    const { status } = await cri.podSandboxStatus({ podSandboxId });
    const { ip = '', additionalIps = [] } = status?.network ?? {};
    return ip === '' ? [] : [ip, ...additionalIps.map((additional) => additional.ip)];
  } catch (error) {
    if (isGrpcError(error, 'NOT_FOUND')) return [];
    throw error;
  }
}

/** What an ended container has to say: its message file, else, where its policy says so, the end of its log. */
async function terminationMessage(
  container: RuntimeContainer,
  status: CriContainerStatus,
  paths: NodePaths,
  uid: string,
): Promise<string> {
  if (container.state !== 'exited') return container.message;
  const written = await readEnd(
    terminationMessageFile(paths, uid, container.name, container.attempt),
    messageBytesMax,
  );
  if (written !== '') return written;
  const policy = status.annotations[containerAnnotations.terminationMessagePolicy];
  if (policy !== 'FallbackToLogsOnError' || container.exitCode === 0) return container.message;
  return endOfLog(await readEnd(status.logPath, logEndBytesMax));
}

/** What the last lines of a log file said. The first one may be cut off: then it is left out. */
export function endOfLog(log: string): string {
  const formatter = new LogFormatter(plainLog);
  const pieces = log.split('\n').flatMap((text) => {
    const line = parseLogLine(Buffer.from(text));
    return line === undefined ? [] : formatter.format(line);
  });
  return Buffer.concat(pieces).toString('utf8').slice(-messageFromLogMax);
}

async function readEnd(path: string, bytesMax: number): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const { size } = await file.stat();
    const length = Math.min(size, bytesMax);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
