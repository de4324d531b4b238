import { silentLogger } from '../base/log.ts';
import { createProgress } from '../cli/progress.ts';
import { downCluster } from '../cluster/down.ts';
import { baseDirs, clusterNames } from '../cluster/state.ts';

export type DownArguments = {
  readonly names: readonly string[];
  readonly all: boolean;
  readonly dataDir: string | undefined;
};

/** `fairlead down`. Several clusters one after the other; a failure does not keep the others from going. */
export async function runDown({ names, all, dataDir }: DownArguments): Promise<void> {
  const dirs = baseDirs(process.env, process.getuid?.() ?? 0);
  const progress = createProgress(process.stderr, () => performance.now());
  const failures: unknown[] = [];
  for (const name of all ? clusterNames(dirs) : names) {
    progress.begin(`taking cluster ${name} down`);
    try {
      const result = await downCluster(name, dirs, all ? undefined : dataDir, silentLogger, progress.note);
      if (result === 'removed') progress.done(`cluster ${name} is gone`);
      else progress.done(`there is no cluster ${name}; \`fairlead list\` shows those that are`);
    } catch (error) {
      failures.push(new Error(`cluster ${name} could not be taken down completely`, { cause: error }));
    }
  }
  if (failures.length > 0) throw failures[0];
}
