import { Command } from 'commander';

/** One of several workers of `fairlead ingress`, which starts it. */
export function ingressWorkerCommand(): Command {
  return new Command('ingress-worker').description('a worker of `ingress --workers`').action(async () => {
    const [{ createLogger }, { runWorkerProcess }] = await Promise.all([
      import('../base/log.ts'),
      import('../l7/controller/worker-process.ts'),
    ]);
    await runWorkerProcess(createLogger('ingress').child({ pid: process.pid }));
    process.exit(0); // what a transport still holds must not keep a drained worker
  });
}
