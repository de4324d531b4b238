import { podCases } from '../../../test/support/pod-cases.ts';

podCases('containers', [
  {
    name: 'ports',
    spec: {},
    container: {
      ports: [
        { name: 'web', containerPort: 80 },
        { name: 'web', containerPort: 81 },
        { name: 'Too_long_for_a_name', containerPort: 0 },
        { containerPort: 82, hostPort: 70000 },
        { containerPort: 83, hostPort: 90, protocol: 'TCP' },
        { containerPort: 84, hostPort: 90, protocol: 'TCP' },
      ],
    },
    want: [
      'spec.containers[0].ports[1].name: Duplicate value: "web"',
      'spec.containers[0].ports[2].name: Invalid value: "Too_long_for_a_name": must be no more than 15 characters',
      'spec.containers[0].ports[2].name: Invalid value: "Too_long_for_a_name": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
      'spec.containers[0].ports[2].containerPort: Required value',
      'spec.containers[0].ports[3].hostPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
      'spec.containers[0].ports[5].hostPort: Duplicate value: "TCP//90"',
    ],
  },
  {
    name: 'host network',
    spec: { hostNetwork: true },
    container: { ports: [{ containerPort: 80, hostPort: 81 }] },
    want: [
      'spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true',
    ],
  },
  {
    name: 'environment',
    spec: {},
    container: {
      env: [
        { name: '' },
        { name: 'a=b' },
        { name: 'a', valueFrom: {} },
        { name: 'a', value: 'x', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        {
          name: 'a',
          valueFrom: { fieldRef: { fieldPath: 'metadata.name' }, secretKeyRef: { name: 's', key: 'k' } },
        },
        { name: 'a', valueFrom: { fieldRef: { apiVersion: 'v2', fieldPath: 'metadata.name' } } },
        { name: 'a', valueFrom: { fieldRef: { fieldPath: '' } } },
        { name: 'a', valueFrom: { fieldRef: { fieldPath: 'metadata.labels' } } },
        { name: 'a', valueFrom: { fieldRef: { fieldPath: "spec.x['y']" } } },
      ],
    },
    want: [
      'spec.containers[0].env[0].name: Required value',
      'spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than \'=\'',
      'spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
      'spec.containers[0].env[3].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
      'spec.containers[0].env[4].valueFrom: Invalid value: "": may not have more than one field specified at a time',
      'spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.name": error converting fieldPath: unsupported pod version: v2',
      'spec.containers[0].env[6].valueFrom.fieldRef.fieldPath: Required value',
      'spec.containers[0].env[7].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
      "spec.containers[0].env[8].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x['y']\": error converting fieldPath: field label not supported: spec.x['y']",
    ],
  },
  {
    name: 'environment: keys and resources',
    spec: {},
    container: {
      env: [
        { name: 'a', valueFrom: { configMapKeyRef: { name: 'Upper', key: '' } } },
        { name: 'a', valueFrom: { secretKeyRef: { name: 's', key: 'a/b' } } },
        { name: 'a', valueFrom: { resourceFieldRef: { resource: '' } } },
        { name: 'a', valueFrom: { resourceFieldRef: { resource: 'limits.gpu' } } },
        { name: 'a', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '3' } } },
        { name: 'a', valueFrom: { resourceFieldRef: { resource: 'requests.cpu', divisor: '10m' } } },
        { name: 'ok', valueFrom: { resourceFieldRef: { resource: 'requests.cpu', divisor: '1m' } } },
      ],
    },
    want: [
      "spec.containers[0].env[0].valueFrom.configMapKeyRef.name: Invalid value: \"Upper\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      'spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Required value',
      "spec.containers[0].env[1].valueFrom.secretKeyRef.key: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
      'spec.containers[0].env[2].valueFrom.resourceFieldRef.resource: Required value',
      'spec.containers[0].env[3].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
      'spec.containers[0].env[4].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.memory": only divisor\'s values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource',
      'spec.containers[0].env[5].valueFrom.resourceFieldRef.divisor: Invalid value: "requests.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
    ],
  },
  {
    name: 'environment from objects',
    spec: {},
    container: {
      envFrom: [
        { prefix: 'a=b', configMapRef: { name: '' } },
        { secretRef: { name: 'Upper' } },
        {},
        { configMapRef: { name: 'c' }, secretRef: { name: 's' } },
      ],
    },
    want: [
      'spec.containers[0].envFrom[0].prefix: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than \'=\'',
      'spec.containers[0].envFrom[0].configMapRef.name: Required value',
      "spec.containers[0].envFrom[1].secretRef.name: Invalid value: \"Upper\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      'spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
      'spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time',
    ],
  },
  {
    name: 'resources: names',
    spec: {},
    container: {
      resources: {
        limits: { gpu: '1', pods: '1', 'a b': '1', 'example.com/gpu': '500m', 'kubernetes.io/x': '1' },
      },
    },
    want: [
      'spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified',
      'spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers',
      'spec.containers[0].resources.limits[pods]: Invalid value: "pods": must be a standard resource for containers',
      "spec.containers[0].resources.limits[a b]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      'spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
      'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified',
      'spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers',
      'spec.containers[0].resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers',
      "spec.containers[0].resources.requests[a b]: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      'spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer',
    ],
  },
  {
    name: 'resources: huge pages',
    spec: {},
    container: { resources: { limits: { 'hugepages-2Mi': '3Mi' }, requests: { 'hugepages-2Mi': '2Mi' } } },
    want: [
      'spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi',
      'spec.containers[0].resources.requests: Invalid value: "2Mi": must be equal to hugepages-2Mi limit of 3Mi',
      'spec.containers[0].resources: Forbidden: HugePages require cpu or memory',
    ],
  },
  {
    name: 'resources: what cannot be promised twice',
    spec: {},
    container: {
      resources: {
        limits: { 'example.com/gpu': '2' },
        requests: { 'example.com/gpu': '1', 'example.com/disk': '1', cpu: '-1' },
      },
    },
    want: [
      'spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
      'spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2',
      'spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources',
    ],
  },
  {
    name: 'resources: claims',
    spec: {},
    container: { resources: { claims: [{ name: 'x' }, { name: '' }] } },
    want: [
      'spec.containers[0].resources.claims[0]: Not found: "x"',
      'spec.containers[0].resources.claims[1]: Required value',
    ],
  },
  {
    name: 'resources of the whole Pod',
    spec: { resources: { requests: { cpu: '1', storage: '1Gi' }, limits: { memory: '1Gi' } } },
    container: { resources: { requests: { cpu: '2' }, limits: { memory: '2Gi' } } },
    want: [
      'spec.resources.requests[storage]: Unsupported value: "storage": supported values: "cpu", "hugepages-", "memory"',
      'spec.resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit of 1Gi',
      'spec.resources.containers[0][memory].limits: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi',
      'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2',
    ],
  },
  {
    name: 'probes',
    spec: {},
    container: {
      livenessProbe: {
        httpGet: { port: 0, scheme: 'FTP', httpHeaders: [{ name: 'a b', value: 'x' }] },
        successThreshold: 2,
        terminationGracePeriodSeconds: 0,
      },
      readinessProbe: { tcpSocket: { port: 'http!' }, periodSeconds: -1, terminationGracePeriodSeconds: 5 },
      startupProbe: { grpc: { port: 70000 }, exec: { command: [] }, failureThreshold: -1 },
    },
    want: [
      'spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive',
      'spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
      "spec.containers[0].livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
      'spec.containers[0].livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0',
      'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
      'spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: "http!": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
      'spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0',
      'spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes',
      'spec.containers[0].startupProbe.exec.command: Required value',
      'spec.containers[0].startupProbe.grpc: Forbidden: may not specify more than 1 handler type',
      'spec.containers[0].startupProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0',
    ],
  },
  {
    name: 'hooks',
    spec: { terminationGracePeriodSeconds: 10 },
    container: { lifecycle: { postStart: {}, preStop: { sleep: { seconds: 11 } } } },
    want: [
      'spec.containers[0].lifecycle.postStart: Required value: must specify a handler type',
      'spec.containers[0].lifecycle.preStop.sleep: Invalid value: 11: must be non-negative and less than terminationGracePeriodSeconds (10)',
    ],
  },
  {
    name: 'hooks: two handlers',
    spec: {},
    container: { lifecycle: { preStop: { exec: { command: ['x'] }, tcpSocket: { port: 80 } } } },
    want: [
      'spec.containers[0].lifecycle.preStop.tcpSocket: Forbidden: may not specify more than 1 handler type',
    ],
  },
  {
    name: 'restart and resize policies',
    spec: { restartPolicy: 'Never' },
    container: {
      restartPolicy: 'Always',
      resizePolicy: [
        { resourceName: 'cpu', restartPolicy: 'RestartContainer' },
        { resourceName: 'cpu', restartPolicy: 'NotRequired' },
        { resourceName: 'disk', restartPolicy: 'Later' },
      ],
    },
    want: [
      "spec.containers[0].resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
      'spec.containers[0].resizePolicy[1]: Duplicate value: "cpu"',
      'spec.containers[0].resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"',
      'spec.containers[0].resizePolicy: Unsupported value: "Later": supported values: "NotRequired", "RestartContainer"',
      "spec.containers[0].resizePolicy: Invalid value: \"Later\": must be 'NotRequired' when `restartPolicy` is 'Never'",
      'spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers',
    ],
  },
  {
    name: 'image and policies',
    spec: {},
    container: { image: ' x', imagePullPolicy: 'Now', terminationMessagePolicy: 'Log' },
    want: [
      'spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace',
      'spec.containers[0].terminationMessagePolicy: Unsupported value: "Log": supported values: "FallbackToLogsOnError", "File"',
      'spec.containers[0].imagePullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never"',
    ],
  },
  {
    name: 'init containers',
    spec: {
      initContainers: [
        { name: 'a', image: 'x' },
        {
          name: 'i',
          image: 'x',
          restartPolicy: 'OnFailure',
          lifecycle: { preStop: { exec: { command: ['x'] } } },
          livenessProbe: { tcpSocket: { port: 80 } },
        },
        { name: 's', image: 'x', restartPolicy: 'Always', startupProbe: {} },
      ],
    },
    want: [
      'spec.initContainers[0].name: Duplicate value: "a"',
      'spec.initContainers[1].restartPolicy: Unsupported value: "OnFailure": supported values: "Always"',
      'spec.initContainers[1].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[1].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
      'spec.initContainers[2].startupProbe: Required value: must specify a handler type',
    ],
  },
]);
