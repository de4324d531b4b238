import type { Cri } from './cri.ts';
import { runtimeLabels } from './sandbox-config.ts';

/** CPU and memory of every container, in Prometheus' text form. Names are those of Kubernetes' resource metrics. */
export async function renderKubeletMetrics(cri: Cri): Promise<string> {
  const { Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  const labelNames = ['container', 'namespace', 'pod'];
  const cpu = new Gauge({
    name: 'container_cpu_usage_seconds_total',
    help: 'CPU time that the container has used, in seconds',
    labelNames,
    registers: [registry],
  });
  const memory = new Gauge({
    name: 'container_memory_working_set_bytes',
    help: 'Memory in use by the container that cannot be reclaimed at once, in bytes',
    labelNames,
    registers: [registry],
  });
  const { stats } = await cri.listContainerStats({});
  for (const { attributes, cpu: cpuUsage, memory: memoryUsage } of stats) {
    const labels = {
      container: attributes?.labels[runtimeLabels.container] ?? '',
      namespace: attributes?.labels[runtimeLabels.podNamespace] ?? '',
      pod: attributes?.labels[runtimeLabels.podName] ?? '',
    };
    cpu.set(labels, (cpuUsage?.usageCoreNanoSeconds?.value ?? 0) / 1e9);
    memory.set(labels, memoryUsage?.workingSetBytes?.value ?? 0);
  }
  return registry.metrics();
}
