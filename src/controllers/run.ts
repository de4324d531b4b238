import { runTogether, type Task } from '../base/lifetime.ts';
import type { Logger } from '../base/log.ts';
import type { ApiClient } from '../client/client.ts';
import type { Timing } from '../control/backoff.ts';
import { createInformers } from '../control/informers.ts';
import { runAsLeader } from '../control/leader.ts';
import { systemTiming } from '../control/reconciler.ts';
import { createRecorder } from '../control/recorder.ts';
import { certificatesController, type SigningConfig } from './certificates/controller.ts';
import { clusterRoleAggregationController } from './clusterrole-aggregation/controller.ts';
import type { ControllerContext } from './context.ts';
import { cronJobController } from './cronjob/controller.ts';
import { daemonSetController } from './daemonset/controller.ts';
import { deploymentController } from './deployment/controller.ts';
import { disruptionController } from './disruption/controller.ts';
import { endpointsController } from './endpoints/controller.ts';
import { endpointSliceController } from './endpointslice/controller.ts';
import { endpointSliceMirroringController } from './endpointslice-mirroring/controller.ts';
import { ephemeralVolumeController } from './ephemeral-volume/controller.ts';
import { garbageCollectorController } from './garbage-collector/controller.ts';
import { horizontalPodAutoscalerController } from './horizontal-pod-autoscaler/controller.ts';
import { jobController } from './job/controller.ts';
import { namespaceController } from './namespace/controller.ts';
import { nodeIpamController } from './node-ipam/controller.ts';
import { nodeLifecycleController } from './node-lifecycle/controller.ts';
import { podGarbageController } from './pod-garbage/controller.ts';
import { replicaSetController } from './replicaset/controller.ts';
import { replicationControllerController } from './replicationcontroller/controller.ts';
import { rootCaController } from './root-ca/controller.ts';
import { schedulerController } from './scheduler/controller.ts';
import { serviceProtocolController } from './service-protocol/controller.ts';
import { serviceAccountController } from './serviceaccount/controller.ts';
import { serviceLbController } from './servicelb/controller.ts';
import { statefulSetController } from './statefulset/controller.ts';
import { volumeBinderController } from './volume-binder/controller.ts';
import { volumeProtectionController } from './volume-protection/controller.ts';

export type ControllersConfig = {
  /** Names from `controllerNames`; undefined: all. */
  readonly controllers: readonly string[] | undefined;
  /** Pod networks that node-ipam shares out, one or one of each family with a comma: a /24 a node, a /64 of IPv6. */
  readonly clusterCidr: string;
  /** PEM that root-ca publishes in every namespace; undefined: root-ca does nothing. */
  readonly certificateAuthority: string | undefined;
  /** What signs certificates for the signers of kubernetes.io; undefined: nothing does. */
  readonly signing: SigningConfig | undefined;
  /** A node that has not been heard of for this long is Unknown, its Pods not ready. */
  readonly nodeMonitorGraceMs: number;
  /** Each HorizontalPodAutoscaler asks its metrics this often, ms. */
  readonly autoscalerSyncMs: number;
  /** Wait for the Lease kube-system/fairlead-controllers before doing anything. */
  readonly leaderElect: boolean;
  /** Unique to this process; only for leader election. */
  readonly identity: string;
};

export const controllersDefaults = {
  controllers: undefined,
  clusterCidr: '10.42.0.0/16',
  certificateAuthority: undefined,
  signing: undefined,
  nodeMonitorGraceMs: 50_000, // kube-controller-manager's own
  autoscalerSyncMs: 15_000, // kube-controller-manager's own
  leaderElect: false,
  identity: 'controllers',
} as const satisfies ControllersConfig;

type Start = (context: ControllerContext, config: ControllersConfig) => Task | undefined;

const starts: Readonly<Record<string, Start>> = {
  scheduler: schedulerController,
  'clusterrole-aggregation': clusterRoleAggregationController,
  deployment: deploymentController,
  replicaset: replicaSetController,
  replicationcontroller: replicationControllerController,
  statefulset: statefulSetController,
  daemonset: daemonSetController,
  job: jobController,
  cronjob: cronJobController,
  disruption: disruptionController,
  'horizontal-pod-autoscaler': (context, { autoscalerSyncMs }) =>
    horizontalPodAutoscalerController(context, autoscalerSyncMs),
  'volume-binder': volumeBinderController,
  'volume-protection': volumeProtectionController,
  'ephemeral-volume': ephemeralVolumeController,
  endpointslice: endpointSliceController,
  endpoints: endpointsController,
  'endpointslice-mirroring': endpointSliceMirroringController,
  servicelb: serviceLbController,
  'service-protocol': serviceProtocolController,
  serviceaccount: serviceAccountController,
  'root-ca': (context, { certificateAuthority }) =>
    certificateAuthority === undefined ? undefined : rootCaController(context, certificateAuthority),
  certificates: (context, { signing }) => certificatesController(context, signing),
  'node-ipam': (context, { clusterCidr }) => nodeIpamController(context, clusterCidr),
  'node-lifecycle': (context, { nodeMonitorGraceMs }) => nodeLifecycleController(context, nodeMonitorGraceMs),
  namespace: namespaceController,
  'pod-garbage': podGarbageController,
  // The last one: it listens to the informers that the others asked for.
  'garbage-collector': garbageCollectorController,
};

/** What `--controllers` may name. */
export const controllerNames: readonly string[] = Object.keys(starts);

/**
 * Runs the controllers until the signal aborts. They share one informer a resource. Rejects if leadership is lost or on a
 * bug; an API server that is away is waited for.
 * @param onReady called once all caches are filled and the controllers work
 */
export async function runControllers(
  config: ControllersConfig,
  client: ApiClient,
  log: Logger,
  signal: AbortSignal,
  options: { readonly timing?: Timing; readonly onReady?: () => void } = {},
): Promise<void> {
  const timing = options.timing ?? systemTiming;
  if (!config.leaderElect) {
    await lead(signal);
    return;
  }
  const { identity } = config;
  const lease = { namespace: 'kube-system', name: 'fairlead-controllers', identity, log, timing };
  await runAsLeader(client, lease, signal, lead);

  async function lead(leading: AbortSignal): Promise<void> {
    const informers = createInformers(client, { log, timing });
    const recorder = (component: string) => createRecorder(client, component, { log, timing });
    const context: ControllerContext = { client, informers, log, timing, recorder };
    const names = controllerNames.filter((name) => config.controllers?.includes(name) !== false);
    const tasks = names.flatMap((name) => starts[name]?.(context, config) ?? []);
    const work = {
      name: 'controllers',
      async run(scope: AbortSignal) {
        await informers.whenSynced(scope);
        options.onReady?.();
        await runTogether(tasks, scope);
      },
    };
    await runTogether([{ name: 'informers', run: (scope) => informers.run(scope) }, work], leading);
  }
}
