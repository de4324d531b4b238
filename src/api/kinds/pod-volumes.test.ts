import { podCases } from '../../../test/support/pod-cases.ts';

podCases('volumes', [
  {
    name: 'names',
    spec: {
      volumes: [
        { name: '', emptyDir: {} },
        { name: 'Upper', emptyDir: {} },
        { name: 'a', emptyDir: {} },
        { name: 'a', emptyDir: {} },
      ],
    },
    want: [
      'spec.volumes[0].name: Required value',
      "spec.volumes[1].name: Invalid value: \"Upper\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
      'spec.volumes[3].name: Duplicate value: "a"',
    ],
  },
  {
    name: 'one kind each',
    spec: { volumes: [{ name: 'a', emptyDir: {}, hostPath: { path: '/a' }, secret: { secretName: 's' } }] },
    want: [
      'spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type',
      'spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type',
    ],
  },
  {
    name: 'emptyDir, hostPath',
    spec: {
      volumes: [
        { name: 'a', emptyDir: { sizeLimit: '-1' } },
        { name: 'b', hostPath: { path: '' } },
        { name: 'c', hostPath: { path: '/a/../b', type: 'Pipe' } },
      ],
    },
    want: [
      'spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity',
      'spec.volumes[1].hostPath.path: Required value',
      'spec.volumes[2].hostPath.path: Invalid value: "/a/../b": must not contain \'..\'',
      'spec.volumes[2].hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
    ],
  },
  {
    name: 'configMap and secret',
    spec: {
      volumes: [
        {
          name: 'a',
          configMap: {
            name: '',
            defaultMode: 512,
            items: [
              { key: '', path: '' },
              { key: 'k', path: '/abs' },
              { key: 'k', path: 'a/../b' },
              { key: 'k', path: '..x', mode: -1 },
            ],
          },
        },
        { name: 'b', secret: { secretName: '', items: [{ key: 'k', path: '..' }] } },
      ],
    },
    want: [
      'spec.volumes[0].configMap.name: Required value',
      'spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive',
      'spec.volumes[0].configMap.items[0].key: Required value',
      'spec.volumes[0].configMap.items[0].path: Required value',
      'spec.volumes[0].configMap.items[1].path: Invalid value: "/abs": must be a relative path',
      'spec.volumes[0].configMap.items[2].path: Invalid value: "a/../b": must not contain \'..\'',
      'spec.volumes[0].configMap.items[3].path: Invalid value: "..x": must not start with \'..\'',
      'spec.volumes[0].configMap.items[3].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive',
      'spec.volumes[1].secret.secretName: Required value',
      'spec.volumes[1].secret.items[0].path: Invalid value: "..": must not contain \'..\'',
    ],
  },
  {
    name: 'downwardAPI',
    spec: {
      volumes: [
        {
          name: 'a',
          downwardAPI: {
            items: [
              { path: '' },
              { path: 'a', fieldRef: { fieldPath: 'spec.nodeName' } },
              { path: 'b', fieldRef: { fieldPath: 'spec.color' } },
              { path: 'c', fieldRef: { fieldPath: "metadata.labels['a b']" } },
              {
                path: 'd',
                fieldRef: { fieldPath: 'metadata.name' },
                resourceFieldRef: { resource: 'limits.cpu' },
              },
              { path: 'e', resourceFieldRef: { resource: 'limits.cpu' } },
              { path: 'f', resourceFieldRef: { containerName: 'a', resource: 'limits.gpu' } },
              {
                path: 'g',
                resourceFieldRef: { containerName: 'a', resource: 'limits.cpu', divisor: '2' },
                mode: 1000,
              },
            ],
          },
        },
      ],
    },
    want: [
      'spec.volumes[0].downwardAPI.path: Required value',
      'spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required',
      'spec.volumes[0].downwardAPI.fieldRef.fieldPath: Unsupported value: "spec.nodeName": supported values: "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"',
      'spec.volumes[0].downwardAPI.fieldRef.fieldPath: Invalid value: "spec.color": error converting fieldPath: field label not supported: spec.color',
      "spec.volumes[0].downwardAPI.fieldRef: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      'spec.volumes[0].downwardAPI: Invalid value: "resource": fieldRef and resourceFieldRef can not be specified simultaneously',
      'spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value',
      'spec.volumes[0].downwardAPI.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
      'spec.volumes[0].downwardAPI.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
      'spec.volumes[0].downwardAPI.mode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive',
    ],
  },
  {
    name: 'projected',
    spec: {
      volumes: [
        {
          name: 'a',
          projected: {
            defaultMode: -1,
            sources: [
              { secret: { items: [{ key: 'k', path: 'same' }] } },
              { configMap: { name: 'c', items: [{ key: 'k', path: 'same' }] }, secret: { name: 's' } },
              { serviceAccountToken: { expirationSeconds: 599, path: '' } },
              { serviceAccountToken: { expirationSeconds: 4294967297, path: '../x' } },
            ],
          },
        },
      ],
    },
    want: [
      'spec.volumes[0].projected.defaultMode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive',
      'spec.volumes[0].projected.sources[0].secret.name: Required value',
      'spec.volumes[0].projected: Invalid value: "c": conflicting duplicate paths',
      'spec.volumes[0].projected.sources[1]: Forbidden: may not specify more than 1 volume type per source',
      'spec.volumes[0].projected.sources[2].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes',
      'spec.volumes[0].projected.path: Required value',
      'spec.volumes[0].projected.sources[3].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds',
      'spec.volumes[0].projected.path: Invalid value: "../x": must not contain \'..\'',
    ],
  },
  {
    name: 'kinds that are elsewhere',
    spec: {
      volumes: [
        { name: 'a', nfs: { server: '', path: 'x' } },
        { name: 'b', iscsi: { targetPortal: '', iqn: 'x', lun: 300, chapAuthSession: true } },
        { name: 'c', csi: { driver: '' } },
        { name: 'd', csi: { driver: 'a b' } },
        { name: 'e', azureDisk: { diskName: '', diskURI: 'x', kind: 'Odd' } },
        { name: 'f', fc: {} },
        { name: 'g', flocker: {} },
        { name: 'h', gcePersistentDisk: { pdName: '', partition: 256 } },
        { name: 'i', persistentVolumeClaim: { claimName: '' } },
        { name: 'j', image: { reference: '', pullPolicy: 'Now' } },
        { name: 'k', gitRepo: { repository: '', directory: '../x' } },
      ],
    },
    want: [
      'spec.volumes[0].nfs.server: Required value',
      'spec.volumes[0].nfs.path: Invalid value: "x": must be an absolute path',
      'spec.volumes[1].iscsi.targetPortal: Required value',
      'spec.volumes[1].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
      'spec.volumes[1].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive',
      'spec.volumes[1].iscsi.secretRef: Required value',
      'spec.volumes[2].csi.driver: Required value',
      "spec.volumes[2].csi.driver: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      "spec.volumes[3].csi.driver: Invalid value: \"a b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
      'spec.volumes[4].azureDisk.diskName: Required value',
      'spec.volumes[4].azureDisk.kind: Unsupported value: "Odd": supported values: "Dedicated", "Managed", "Shared"',
      'spec.volumes[5].fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both',
      'spec.volumes[6].flocker: Required value: one of datasetName and datasetUUID is required',
      'spec.volumes[7].gcePersistentDisk.pdName: Required value',
      'spec.volumes[7].gcePersistentDisk.partition: Invalid value: 256: must be between 0 and 255, inclusive',
      'spec.volumes[8].persistentVolumeClaim.claimName: Required value',
      'spec.volumes[9].image.reference: Required value',
      'spec.volumes[9].image.pullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never"',
      'spec.volumes[10].gitRepo.repository: Required value',
      'spec.volumes[10].gitRepo.directory: Invalid value: "../x": must not contain \'..\'',
    ],
  },
  {
    name: 'ephemeral',
    spec: {
      volumes: [
        { name: 'a', ephemeral: {} },
        { name: 'b', ephemeral: { volumeClaimTemplate: { metadata: { name: 'x' }, spec: {} } } },
        { name: 'c', persistentVolumeClaim: { claimName: 'p-a' } },
      ],
    },
    want: [
      'spec.volumes[0].ephemeral.volumeClaimTemplate: Required value',
      'spec.volumes[1].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set',
      'spec.volumes[1].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required',
      'spec.volumes[1].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value',
      'spec.volumes[2].persistentVolumeClaim.claimName: Invalid value: "p-a": must not reference a PVC that gets created for an ephemeral volume',
    ],
  },
  {
    name: 'mounts',
    spec: { volumes: [{ name: 'v', emptyDir: {} }] },
    container: {
      volumeMounts: [
        { name: '', mountPath: '' },
        { name: 'v', mountPath: '/a', readOnly: false, recursiveReadOnly: 'Enabled' },
        { name: 'v', mountPath: '/a', subPath: '/x', recursiveReadOnly: 'Odd' },
        { name: 'w', mountPath: '/b', subPath: 'x/../y' },
      ],
    },
    want: [
      'spec.containers[0].volumeMounts[0].name: Required value',
      'spec.containers[0].volumeMounts[0].name: Not found: ""',
      'spec.containers[0].volumeMounts[0].mountPath: Required value',
      'spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true',
      'spec.containers[0].volumeMounts[2].mountPath: Invalid value: "/a": must be unique',
      'spec.containers[0].volumeMounts.subPath: Invalid value: "/x": must be a relative path',
      'spec.containers[0].volumeMounts.recursiveReadOnly: Unsupported value: "Odd": supported values: "Disabled", "Enabled", "IfPossible"',
      'spec.containers[0].volumeMounts[3].name: Not found: "w"',
      'spec.containers[0].volumeMounts.subPath: Invalid value: "x/../y": must not contain \'..\'',
    ],
  },
  {
    name: 'devices',
    spec: {
      volumes: [
        { name: 'v', emptyDir: {} },
        { name: 'c', persistentVolumeClaim: { claimName: 'c' } },
      ],
    },
    container: {
      volumeMounts: [{ name: 'v', mountPath: '/dev/a' }],
      volumeDevices: [
        { name: 'v', devicePath: '/dev/a' },
        { name: 'c', devicePath: '' },
        { name: 'c', devicePath: '/a/../b' },
        { name: 'x', devicePath: '/dev/x' },
      ],
    },
    want: [
      'spec.containers[0].volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices',
      'spec.containers[0].volumeMounts[0].mountPath: Invalid value: "/dev/a": must not already exist as a path in volumeDevices',
      'spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode',
      'spec.containers[0].volumeDevices[0].name: Invalid value: "v": must not already exist in volumeMounts',
      'spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/dev/a": must not already exist as a path in volumeMounts',
      'spec.containers[0].volumeDevices[1].devicePath: Required value',
      'spec.containers[0].volumeDevices[2].name: Invalid value: "c": must be unique',
      'spec.containers[0].volumeDevices[2].devicePath: Invalid value: "/a/../b": can not contain backsteps (\'..\')',
      'spec.containers[0].volumeDevices[3].name: Not found: "x"',
    ],
  },
]);
