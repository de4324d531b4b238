import { podCases } from '../../../test/support/pod-cases.ts';

podCases('security', [
  {
    name: 'users and groups',
    spec: {
      securityContext: {
        runAsUser: -1,
        runAsGroup: 2147483648,
        fsGroup: -5,
        supplementalGroups: [1, -2],
        fsGroupChangePolicy: 'Sometimes',
        supplementalGroupsPolicy: 'Loose',
        seLinuxChangePolicy: 'Never',
      },
    },
    want: [
      'spec.securityContext.fsGroup: Invalid value: -5: must be between 0 and 2147483647, inclusive',
      'spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive',
      'spec.securityContext.runAsGroup: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive',
      'spec.securityContext.supplementalGroups[1]: Invalid value: -2: must be between 0 and 2147483647, inclusive',
      'spec.securityContext.fsGroupChangePolicy: Unsupported value: "Sometimes": supported values: "Always", "OnRootMismatch"',
      'spec.securityContext.supplementalGroupsPolicy: Unsupported value: "Loose": supported values: "Merge", "Strict"',
      'spec.securityContext.seLinuxChangePolicy: Unsupported value: "Never": supported values: "MountOption", "Recursive"',
    ],
  },
  {
    name: 'process namespaces',
    spec: { shareProcessNamespace: true, hostPID: true },
    want: [
      'spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled',
    ],
  },
  {
    name: 'sysctls',
    spec: {
      hostNetwork: true,
      hostIPC: true,
      securityContext: {
        sysctls: [
          { name: '', value: '1' },
          { name: 'Kernel.x', value: '1' },
          { name: 'net.core.somaxconn', value: '1' },
          { name: 'kernel.msgmax', value: '1' },
          { name: 'vm.swappiness', value: '1' },
          { name: 'vm.swappiness', value: '2' },
          { name: 'net/ipv4/conf/eth0.1/forwarding', value: '1' },
        ],
      },
    },
    want: [
      'spec.securityContext.sysctls[0].name: Required value',
      'spec.securityContext.sysctls[1].name: Invalid value: "Kernel.x": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$',
      'spec.securityContext.sysctls[2].name: Invalid value: "net.core.somaxconn": may not be specified when \'hostNetwork\' is true',
      'spec.securityContext.sysctls[3].name: Invalid value: "kernel.msgmax": may not be specified when \'hostIPC\' is true',
      'spec.securityContext.sysctls[5].name: Duplicate value: "vm.swappiness"',
      'spec.securityContext.sysctls[6].name: Invalid value: "net/ipv4/conf/eth0.1/forwarding": may not be specified when \'hostNetwork\' is true',
    ],
  },
  {
    name: 'profiles',
    spec: {
      securityContext: {
        seccompProfile: { type: 'Localhost' },
        appArmorProfile: { type: 'Localhost', localhostProfile: ' x' },
      },
    },
    want: [
      'spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost',
      'spec.securityContext.appArmorProfile.localhostProfile: Invalid value: " x": must not be padded with whitespace',
    ],
  },
  {
    name: 'profiles: types',
    spec: {
      securityContext: {
        seccompProfile: { type: 'Custom', localhostProfile: 'a' },
        appArmorProfile: { type: 'Custom' },
      },
    },
    want: [
      'spec.securityContext.seccompProfile.type: Unsupported value: "Custom": supported values: "Localhost", "RuntimeDefault", "Unconfined"',
      'spec.securityContext.seccompProfile.localhostProfile: Invalid value: {"type":"Custom","localhostProfile":"a"}: can only be set when seccomp type is Localhost',
      'spec.securityContext.appArmorProfile.type: Unsupported value: "Custom": supported values: "Localhost", "RuntimeDefault", "Unconfined"',
    ],
  },
  {
    name: 'profiles: paths',
    spec: {
      securityContext: {
        seccompProfile: { type: 'Localhost', localhostProfile: '/../a' },
        appArmorProfile: { type: 'RuntimeDefault', localhostProfile: 'a' },
      },
    },
    want: [
      'spec.securityContext.seccompProfile.localhostProfile: Invalid value: "/../a": must be a relative path',
      'spec.securityContext.seccompProfile.localhostProfile: Invalid value: "/../a": must not contain \'..\'',
      'spec.securityContext.appArmorProfile.localhostProfile: Invalid value: "a": can only be set when AppArmor type is Localhost',
    ],
  },
  {
    name: 'profiles: missing',
    spec: { securityContext: { seccompProfile: {}, appArmorProfile: {} } },
    want: [
      'spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set',
      'spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set',
    ],
  },
  {
    name: 'users of its own',
    spec: { hostUsers: false, hostNetwork: true, hostPID: true, hostIPC: true },
    want: [
      'spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false',
      'spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false',
      'spec.HostIPC: Forbidden: when `pod.Spec.HostUsers` is false',
    ],
  },
  {
    name: 'containers',
    spec: {},
    container: {
      securityContext: {
        runAsUser: -1,
        procMount: 'Unmasked',
        privileged: true,
        allowPrivilegeEscalation: false,
        capabilities: { add: ['CAP_SYS_ADMIN'] },
        seccompProfile: { type: 'Localhost', localhostProfile: '../x' },
      },
    },
    want: [
      'spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive',
      'spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
      'spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: "../x": must not contain \'..\'',
      'spec.containers[0].securityContext: Invalid value: {"runAsUser":-1,"procMount":"Unmasked","privileged":true,"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]},"seccompProfile":{"type":"Localhost","localhostProfile":"../x"}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
      'spec.containers[0].securityContext: Invalid value: {"runAsUser":-1,"procMount":"Unmasked","privileged":true,"allowPrivilegeEscalation":false,"capabilities":{"add":["CAP_SYS_ADMIN"]},"seccompProfile":{"type":"Localhost","localhostProfile":"../x"}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
    ],
  },
  {
    name: 'containers: procMount',
    spec: {},
    container: { securityContext: { procMount: 'Open' } },
    want: [
      'spec.containers[0].securityContext.procMount: Unsupported value: "Open": supported values: "Default", "Unmasked"',
    ],
  },
  {
    name: 'os',
    spec: { os: { name: 'plan9' } },
    want: ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'],
  },
  {
    name: 'os: none',
    spec: { os: { name: '' } },
    want: ['spec.os.name: Required value: cannot be empty'],
  },
  {
    name: 'os: linux',
    spec: { os: { name: 'linux' }, securityContext: { windowsOptions: { runAsUserName: 'x' } } },
    want: ['spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod'],
  },
  {
    name: 'os: windows',
    spec: { os: { name: 'windows' }, hostPID: true, securityContext: { runAsUser: 1 } },
    container: { securityContext: { privileged: true, capabilities: { drop: ['ALL'] } } },
    want: [
      'spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod',
      'spec.hostPID: Forbidden: cannot be set for a windows pod',
      'spec.containers[0].securityContext.capabilities: Forbidden: cannot be set for a windows pod',
      'spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod',
    ],
  },
]);
