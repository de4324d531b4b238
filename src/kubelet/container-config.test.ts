import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Container, Pod, PodSpec } from '../api/gen/core-v1.ts';
import { ContainerConfigError } from './config-error.ts';
import { compileContainerConfig, type ContainerContext } from './container-config.ts';
import { linuxResourcesOf, qosClassOf } from './resources.ts';
import { compileSandboxConfig } from './sandbox-config.ts';
import { findUnsupported } from './unsupported.ts';

const pod = (spec: Partial<PodSpec> = {}): Pod => ({
  metadata: { name: 'web', namespace: 'shop', uid: 'u1', labels: { app: 'web' } },
  spec: { containers: [], ...spec },
});
const context: ContainerContext = {
  attempt: 2,
  imageRef: 'sha256:1',
  imageUid: 0,
  imageUsername: '',
  env: new Map([['A', 'b']]),
  mounts: [],
  specHash: 'busybox',
  memoryCapacityBytes: 1000 * 2 ** 20,
  hasSelinux: false,
  seccompRoot: '/node/seccomp',
};
const compile = (
  container: Partial<Container>,
  spec: Partial<PodSpec> = {},
  change: Partial<ContainerContext> = {},
) => compileContainerConfig(pod(spec), { name: 'main', ...container }, { ...context, ...change });
const security = (
  container: Partial<Container>,
  spec?: Partial<PodSpec>,
  change?: Partial<ContainerContext>,
) => compile(container, spec, change).linux?.securityContext;

test('container: names, labels, environment and command', () => {
  const config = compile({ command: ['run', '$(A)'], args: ['$$(A)'], tty: true, stdin: true });
  assert.deepEqual(config.command, ['run', 'b']);
  assert.deepEqual(config.args, ['$(A)']);
  assert.deepEqual(config.envs, [{ key: 'A', value: 'b' }]);
  assert.equal(config.labels?.['io.kubernetes.pod.uid'], 'u1');
  assert.equal(config.logPath, 'main/2.log');
  assert.deepEqual([config.tty, config.stdin, config.stdinOnce], [true, true, false]);
});

test('container: the container’s security settings win over the Pod’s', () => {
  const found = security(
    {
      securityContext: {
        runAsUser: 7,
        capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
        allowPrivilegeEscalation: false,
      },
    },
    {
      securityContext: {
        runAsUser: 5,
        runAsGroup: 6,
        fsGroup: 9,
        supplementalGroups: [8],
        seccompProfile: { type: 'RuntimeDefault' },
      },
    },
  );
  assert.deepEqual(found?.runAsUser, { value: 7 });
  assert.deepEqual(found?.runAsGroup, { value: 6 });
  assert.deepEqual(found?.supplementalGroups, [8, 9]);
  assert.deepEqual(found?.capabilities, { addCapabilities: ['NET_ADMIN'], dropCapabilities: ['ALL'] });
  assert.equal(found?.noNewPrivs, true);
  assert.equal(found?.seccomp?.profileType, 0);
});

test('container: privileged has nothing masked and no seccomp', () => {
  const found = security({
    securityContext: { privileged: true, seccompProfile: { type: 'RuntimeDefault' } },
  });
  assert.equal(found?.privileged, true);
  assert.deepEqual(found?.maskedPaths, []);
  assert.equal(found?.seccomp?.profileType, 1);
});

for (const { name, container, change, refused } of [
  {
    name: 'an image that runs as root',
    container: { securityContext: { runAsNonRoot: true } },
    change: {},
    refused: true,
  },
  {
    name: 'an image with a named user',
    container: { securityContext: { runAsNonRoot: true } },
    change: { imageUid: undefined, imageUsername: 'web' },
    refused: true,
  },
  {
    name: 'root by the Pod',
    container: { securityContext: { runAsNonRoot: true, runAsUser: 0 } },
    change: { imageUid: 5 },
    refused: true,
  },
  {
    name: 'an image with a number',
    container: { securityContext: { runAsNonRoot: true } },
    change: { imageUid: 5 },
    refused: false,
  },
] as const) {
  test(`container: runAsNonRoot and ${name}`, () => {
    if (refused) assert.throws(() => compile(container, {}, change), ContainerConfigError);
    else assert.doesNotThrow(() => compile(container, {}, change));
  });
}

for (const { name, requests, limits, qos, want } of [
  {
    name: 'nothing asked',
    requests: undefined,
    limits: undefined,
    qos: 'BestEffort',
    want: { cpuShares: 2, memoryLimitInBytes: 0, oomScoreAdj: 1000 },
  },
  {
    name: 'requests below limits',
    requests: { cpu: '250m', memory: '100Mi' },
    limits: { cpu: '500m', memory: '200Mi' },
    qos: 'Burstable',
    want: {
      cpuShares: 256,
      cpuPeriod: 100_000,
      cpuQuota: 50_000,
      memoryLimitInBytes: 200 * 2 ** 20,
      oomScoreAdj: 900,
    },
  },
  {
    name: 'limits alone',
    requests: undefined,
    limits: { cpu: '2', memory: '1Gi' },
    qos: 'Guaranteed',
    want: {
      cpuShares: 2048,
      cpuPeriod: 100_000,
      cpuQuota: 200_000,
      memoryLimitInBytes: 2 ** 30,
      oomScoreAdj: -997,
    },
  },
]) {
  test(`resources: ${name}`, () => {
    const container: Container = { name: 'main', resources: { requests, limits } };
    const owner = pod({ containers: [container] });
    assert.equal(qosClassOf(owner), qos);
    assert.deepEqual(linuxResourcesOf(owner, container, context.memoryCapacityBytes), want);
  });
}

test('sandbox: host ports, sysctls, shared processes and cgroup', () => {
  const config = compileSandboxConfig(
    pod({
      shareProcessNamespace: true,
      securityContext: {
        sysctls: [{ name: 'net/ipv4/tcp_syncookies', value: '0' }],
        seccompProfile: { type: 'Localhost', localhostProfile: 'strict.json' },
      },
      containers: [
        {
          name: 'main',
          ports: [{ containerPort: 80, hostPort: 8080, protocol: 'UDP' }, { containerPort: 81 }],
        },
      ],
    }),
    {
      attempt: 1,
      logDirectory: '/logs',
      cgroupParent: '/fairlead/dev/n/podu1',
      dns: { servers: [], searches: [], options: [] },
      fullName: undefined,
      seccompRoot: '/node/seccomp',
    },
  );
  assert.equal(config.hostname, 'web');
  assert.deepEqual(config.portMappings, [{ protocol: 1, containerPort: 80, hostPort: 8080, hostIp: '' }]);
  assert.deepEqual(config.linux?.sysctls, { 'net.ipv4.tcp_syncookies': '0' });
  assert.equal(config.linux?.securityContext?.seccomp?.localhostRef, '/node/seccomp/strict.json');
  assert.deepEqual(config.linux?.securityContext?.namespaceOptions, { network: 0, pid: 0, ipc: 0 });
  assert.equal(config.metadata?.attempt, 1);
});

test('container: an ephemeral one with what the node cannot do is refused by itself', () => {
  assert.throws(
    () => compile({ securityContext: { windowsOptions: {} } }),
    new ContainerConfigError('securityContext.windowsOptions is not supported by this node'),
  );
});

test('sandbox: on the host’s network without a host name and ports', () => {
  const config = compileSandboxConfig(
    pod({ hostNetwork: true, containers: [{ name: 'main', ports: [{ containerPort: 80, hostPort: 80 }] }] }),
    {
      attempt: 0,
      logDirectory: '',
      cgroupParent: '',
      dns: { servers: [], searches: [], options: [] },
      fullName: undefined,
      seccompRoot: '',
    },
  );
  assert.equal(config.hostname, '');
  assert.deepEqual(config.portMappings, []);
  assert.equal(config.linux?.securityContext?.namespaceOptions?.network, 2);
});

for (const { name, spec, want } of [
  {
    name: 'what we have',
    spec: { volumes: [{ name: 'a', emptyDir: {} }, { name: 'b' }, { name: 'c', secret: {} }] },
    want: undefined,
  },
  {
    name: 'a volume of another kind',
    spec: { volumes: [{ name: 'a', nfs: { server: '10.0.0.1', path: '/' } }] },
    want: /"a" is of kind nfs/,
  },
  {
    name: 'a claim, whose volume is looked at when it is mounted',
    spec: { volumes: [{ name: 'a', persistentVolumeClaim: { claimName: 'x' } }] },
    want: undefined,
  },
  {
    name: 'huge pages',
    spec: { volumes: [{ name: 'a', emptyDir: { medium: 'HugePages-2Mi' } }] },
    want: /"a" has emptyDir.medium HugePages-2Mi/,
  },
  {
    name: 'a limit of a folder on disk',
    spec: { volumes: [{ name: 'a', emptyDir: { sizeLimit: '1Gi' } }] },
    want: undefined,
  },
  {
    name: 'a limit of memory is a size of the tmpfs',
    spec: { volumes: [{ name: 'a', emptyDir: { medium: 'Memory', sizeLimit: '1Gi' } }] },
    want: undefined,
  },
  {
    name: 'a safe kernel parameter',
    spec: { securityContext: { sysctls: [{ name: 'net/ipv4/tcp_syncookies', value: '0' }] } },
    want: undefined,
  },
  {
    name: 'a kernel parameter that is not safe',
    spec: { securityContext: { sysctls: [{ name: 'net.core.somaxconn', value: '9' }] } },
    want: /forbidden sysctl: "net.core.somaxconn" not allowlisted/,
  },
  {
    name: 'no AppArmor profile',
    spec: { securityContext: { appArmorProfile: { type: 'Unconfined' } } },
    want: undefined,
  },
  {
    name: 'an AppArmor profile, which nobody would enforce',
    spec: { securityContext: { appArmorProfile: { type: 'RuntimeDefault' } } },
    want: /spec.securityContext.appArmorProfile of type RuntimeDefault/,
  },
  {
    name: 'resources of the Pod as a whole',
    spec: { resources: { limits: { cpu: '1' } } },
    want: /spec.resources/,
  },
  {
    name: 'a projected bundle of certificates',
    spec: { volumes: [{ name: 'a', projected: { sources: [{ clusterTrustBundle: { path: 'x' } }] } }] },
    want: /"a" has a projected source of kind clusterTrustBundle/,
  },
  { name: 'a scheduling group', spec: { schedulingGroup: {} }, want: /spec.schedulingGroup/ },
  {
    name: 'strict supplemental groups',
    spec: { securityContext: { supplementalGroupsPolicy: 'Strict' } },
    want: /supplementalGroupsPolicy: Strict/,
  },
  {
    name: 'SELinux options of the Pod',
    spec: { securityContext: { seLinuxOptions: { level: 's0' } } },
    want: /spec.securityContext.seLinuxOptions/,
  },
  {
    name: 'an SELinux policy',
    spec: { securityContext: { seLinuxChangePolicy: 'Recursive' } },
    want: /seLinuxChangePolicy/,
  },
  {
    name: 'Windows options of the Pod',
    spec: { securityContext: { windowsOptions: {} } },
    want: /spec.securityContext.windowsOptions/,
  },
  ...(
    [
      [
        'recursive read-only mounts',
        { volumeMounts: [{ name: 'a', mountPath: '/a', readOnly: true, recursiveReadOnly: 'Enabled' }] },
        /container main: recursiveReadOnly: Enabled of volumeMount \/a/,
      ],
      [
        'variables from files',
        { env: [{ name: 'A', valueFrom: { fileKeyRef: { volumeName: 'a', path: 'b', key: 'c' } } }] },
        /container main: fileKeyRef of variable A/,
      ],
      ['limits of storage', { resources: { limits: { 'ephemeral-storage': '1Gi' } } }, undefined],
      ['SELinux options', { securityContext: { seLinuxOptions: {} } }, /container main: .*seLinuxOptions/],
      ['Windows options', { securityContext: { windowsOptions: {} } }, /container main: .*windowsOptions/],
    ] as const
  ).map(([name, container, want]) => ({
    name: `${name} of a container`,
    spec: { containers: [{ name: 'main', ...container }] },
    want,
  })),
  { name: 'a runtime class', spec: { runtimeClassName: 'gvisor' }, want: /spec.runtimeClassName/ },
  {
    name: 'a block device',
    spec: { containers: [{ name: 'main', volumeDevices: [{ name: 'a', devicePath: '/dev/x' }] }] },
    want: /container main: volumeDevices/,
  },
] satisfies readonly { name: string; spec: Partial<PodSpec>; want: RegExp | undefined }[]) {
  test(`unsupported: ${name}`, () => {
    const found = findUnsupported(pod(spec), { hasSelinux: true });
    if (want === undefined) assert.equal(found, undefined);
    else assert.match(found?.message ?? '', want);
  });
}

test('SELinux fields mean nothing, and are let pass, on a machine without SELinux', () => {
  const seLinuxOptions = { level: 's0:c1,c2', type: 'spc_t' };
  const container = { name: 'main', securityContext: { seLinuxOptions } };
  const spec: Partial<PodSpec> = {
    securityContext: { seLinuxOptions, seLinuxChangePolicy: 'MountOption' },
    initContainers: [container],
    containers: [container],
  };
  assert.equal(findUnsupported(pod(spec), { hasSelinux: false }), undefined);
  assert.notEqual(findUnsupported(pod(spec), { hasSelinux: true }), undefined);
  assert.equal(compile(container, spec).metadata?.name, 'main');
  assert.throws(
    () => compile(container, spec, { hasSelinux: true }),
    new ContainerConfigError('securityContext.seLinuxOptions is not supported by this node'),
  );
});

test('a Pod for another operating system says so by the reason that Kubernetes gives', () => {
  const found = findUnsupported({ spec: { containers: [], os: { name: 'windows' } } }, { hasSelinux: false });
  assert.equal(found?.reason, 'PodOSNotSupported');
});
