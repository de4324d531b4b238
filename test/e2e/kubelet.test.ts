import assert from 'node:assert/strict';
import { access, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Container, Pod, PodSpec } from '../../src/api/gen/core-v1.ts';
import { entriesOf, importBusybox, openTestNode, reasonToSkip, type TestNode } from './kubelet-node.ts';

/** The node agent with a real containerd, API server and kubectl, in a network namespace of its own. */

const skip = await reasonToSkip();
if (skip !== undefined) console.log(`kubelet: skipped, ${skip}`);

const waitTimeoutMs = 60_000;
const pollMs = 50;

/** Waits until `probe` gives something; what it gave last is told when it never does. */
async function eventually<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
  const startMs = performance.now();
  let last: unknown;
  while (performance.now() - startMs < waitTimeoutMs) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await delay(pollMs);
  }
  throw new Error(`never happened: ${what}`, { cause: last });
}

function pod(name: string, container: Partial<Container>, spec: Partial<PodSpec> = {}): Pod {
  const base = { name: 'main', image: 'busybox', imagePullPolicy: 'IfNotPresent' };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ ...base, ...container }], ...spec },
  };
}

const shell = (script: string) => ({ command: ['sh', '-c', script] });
const forever = 'trap "exit 0" TERM; while true; do sleep 0.05; done';

describe('kubelet', { skip: skip ?? false }, () => {
  let node: TestNode;

  before(async () => {
    node = await openTestNode();
    await node.startAgent();
    await importBusybox(node);
  });
  after(async () => {
    await node.close();
    assert.deepEqual(await entriesOf(node.dataDir), [], 'the data folder is left');
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    assert.doesNotMatch(mounts, new RegExp(node.name), 'a mount is left');
  });

  const get = async (name: string): Promise<Pod> =>
    JSON.parse(await node.kubectl('get', 'pod', name, '-o', 'json')) as Pod;
  const phase = (name: string, wanted: string) =>
    eventually(`${name} is ${wanted}`, async () => {
      const found = await get(name);
      return found.status?.phase === wanted && found;
    });
  const ready = (name: string) =>
    eventually(`${name} is ready`, async () => {
      const found = await get(name);
      const condition = found.status?.conditions?.find(({ type }) => type === 'Ready');
      return condition?.status === 'True' && found;
    });
  const remove = (name: string) => node.kubectl('delete', 'pod', name, '--wait=true');
  const events = (name: string) =>
    node.kubectl(
      'get',
      'events',
      '--field-selector',
      `involvedObject.name=${name}`,
      '-o',
      'jsonpath={range .items[*]}{.reason}: {.message}{"\\n"}{end}',
    );

  test('the node is ready and says what it is', async () => {
    const found = JSON.parse(await node.kubectl('get', 'node', 'server-0', '-o', 'json'));
    assert.equal(found.status.nodeInfo.containerRuntimeVersion.split(':')[0], 'containerd');
    assert.equal(found.metadata.labels['kubernetes.io/hostname'], 'server-0');
    assert.deepEqual(
      found.status.conditions.map((one: { type: string; status: string }) => [one.type, one.status]),
      [
        ['MemoryPressure', 'False'],
        ['DiskPressure', 'False'],
        ['PIDPressure', 'False'],
        ['Ready', 'True'],
      ],
    );
    const lease = JSON.parse(
      await node.kubectl('get', 'lease', 'server-0', '-n', 'kube-node-lease', '-o', 'json'),
    );
    assert.equal(lease.spec.holderIdentity, 'server-0');
  });

  test('a Pod serves, and logs, exec and port-forward reach it', async () => {
    const script =
      'echo to-out; echo to-err >&2; echo served > /tmp/index.html; httpd -p 80 -h /tmp; ' + forever;
    const probe = { httpGet: { path: '/index.html', port: 80 } };
    await node.apply(pod('web', { ...shell(script), readinessProbe: probe, ports: [{ containerPort: 80 }] }));
    const found = await ready('web');
    const ip = found.status?.podIP ?? '';
    assert.match(ip, /^10\.42\.0\.\d+$/);
    assert.equal(found.status?.qosClass, 'BestEffort');
    assert.match(found.status?.containerStatuses?.[0]?.containerID ?? '', /^containerd:\/\//);
    assert.match(await node.exec('busybox', 'wget', '-qO-', `http://${ip}/`), /served/);
    assert.deepEqual(
      (await node.kubectl('logs', 'web'))
        .split('\n')
        .filter((line) => line.startsWith('to-'))
        .toSorted(),
      ['to-err', 'to-out'],
    );
    assert.match(await node.kubectl('logs', 'web', '--tail=1', '--timestamps'), /^20\d\d-\d\d-\d\dT/);
    assert.match(await node.kubectl('top', 'pod', 'web', '--containers'), /^web\s+\S+\s+\d+m\s+\d+Mi/m);
    assert.match(await node.kubectl('top', 'nodes'), /^server-0\s+\d+m\s+\d+%\s+\d+Mi\s+\d+%/m);
    const path = '/api/v1/nodes/server-0/proxy/stats/summary';
    assert.match(await node.kubectl('get', '--raw', path), /"podRef":\{"name":"web","namespace":"default"/);
    assert.equal(await node.kubectl('exec', 'web', '--', 'cat', '/tmp/index.html'), 'served\n');
    await assert.rejects(
      node.kubectl('exec', 'web', '--', 'sh', '-c', 'exit 3'),
      (error: { code?: number }) => error.code === 3,
    );
    assert.match(await node.kubectl('exec', 'web', '--', 'cat', '/etc/hosts'), new RegExp(`${ip}\\tweb`));
    assert.match(
      await node.kubectl('exec', 'web', '--', 'cat', '/etc/resolv.conf'),
      /search default\.svc\.cluster\.local/,
    );
    const forwarded = await node.exec(
      'sh',
      '-c',
      `kubectl --kubeconfig=${node.dataDir}/admin.yaml port-forward pod/web 18080:80 >/dev/null 2>&1 & p=$!; for i in $(seq 300); do busybox wget -qO- http://127.0.0.1:18080/ 2>/dev/null && break; sleep 0.2; done; kill $p`,
    );
    assert.match(forwarded, /served/);
    const told = await events('web');
    for (const reason of ['Pulled', 'Created', 'Started']) assert.match(told, new RegExp(`${reason}:`));
    await remove('web');
  });

  test('kubectl run attaches, and what is typed comes back', async () => {
    const answer = await node.exec(
      'sh',
      '-c',
      `echo typed | kubectl --kubeconfig=${node.dataDir}/admin.yaml run typist --rm -i -q --restart=Never --image=busybox --image-pull-policy=IfNotPresent --command -- sh -c 'read line; echo "got $line"'`,
    );
    assert.match(answer, /got typed/);
  });

  test('environment and volumes hold what the API has, and follow it', async () => {
    await node.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'settings' },
      data: { color: 'blue', size: '3' },
    });
    await node.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'hidden' },
      stringData: { word: 'sesame' },
    });
    await node.apply(
      pod(
        'reader',
        {
          ...shell(forever),
          env: [
            { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
            { name: 'WORD', valueFrom: { secretKeyRef: { name: 'hidden', key: 'word' } } },
            { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
            { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'BOTH', value: '$(COLOR)-$(WORD)-$$(COLOR)' },
          ],
          envFrom: [{ prefix: 'S_', configMapRef: { name: 'settings' } }],
          volumeMounts: [
            { name: 'settings', mountPath: '/settings' },
            { name: 'settings', mountPath: '/one', subPath: 'color' },
            { name: 'hidden', mountPath: '/hidden', readOnly: true },
            { name: 'about', mountPath: '/about' },
            { name: 'memory', mountPath: '/memory' },
            { name: 'scratch', mountPath: '/scratch', subPath: 'deep/inside' },
          ],
        },
        {
          volumes: [
            { name: 'settings', configMap: { name: 'settings' } },
            { name: 'hidden', secret: { secretName: 'hidden', defaultMode: 0o400 } },
            {
              name: 'about',
              downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] },
            },
            { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
            { name: 'scratch', emptyDir: {} },
          ],
        },
      ),
    );
    const found = await ready('reader');
    const cat = (...files: readonly string[]) => node.kubectl('exec', 'reader', '--', 'cat', ...files);
    const env = await node.kubectl('exec', 'reader', '--', 'env');
    for (const line of [
      'COLOR=blue',
      'WORD=sesame',
      'POD=reader',
      `IP=${found.status?.podIP}`,
      'S_size=3',
      'BOTH=blue-sesame-$(COLOR)',
      'KUBERNETES_SERVICE_HOST=10.43.0.1',
    ]) {
      assert.ok(env.split('\n').includes(line), `${line} in ${env}`);
    }
    assert.equal(
      await cat('/settings/color', '/one', '/hidden/word', '/about/labels'),
      'bluebluesesameapp="reader"',
    );
    assert.match(await cat('/proc/mounts'), /tmpfs \/memory tmpfs/);
    assert.equal((await cat('/var/run/secrets/kubernetes.io/serviceaccount/namespace')).trim(), 'default');
    assert.equal((await cat('/var/run/secrets/kubernetes.io/serviceaccount/token')).split('.').length, 3);
    await node.kubectl('patch', 'configmap', 'settings', '-p', '{"data":{"color":"green"}}');
    await eventually(
      'the volume follows the ConfigMap',
      async () => (await cat('/settings/color')) === 'green',
    );
    await remove('reader');
  });

  test('init containers run one after another, a sidecar beside them', async () => {
    const volumes = [{ name: 'shared', emptyDir: {} }];
    const volumeMounts = [{ name: 'shared', mountPath: '/shared' }];
    const base = { image: 'busybox', imagePullPolicy: 'IfNotPresent', volumeMounts };
    await node.apply(
      pod(
        'steps',
        { ...shell('cat /shared/steps; test -f /shared/sidecar && echo sidecar-runs'), volumeMounts },
        {
          restartPolicy: 'Never',
          volumes,
          initContainers: [
            { ...base, name: 'first', ...shell('echo first >> /shared/steps') },
            {
              ...base,
              name: 'beside',
              restartPolicy: 'Always',
              ...shell(`touch() { echo > $1; }; touch /shared/sidecar; ${forever}`),
            },
            {
              ...base,
              name: 'second',
              ...shell('while ! [ -f /shared/sidecar ]; do sleep 0.05; done; echo second >> /shared/steps'),
            },
          ],
        },
      ),
    );
    const done = await phase('steps', 'Succeeded');
    assert.equal(await node.kubectl('logs', 'steps', '-c', 'main'), 'first\nsecond\nsidecar-runs\n');
    assert.deepEqual(
      done.status?.initContainerStatuses?.map(({ name, restartCount }) => [name, restartCount]),
      [
        ['first', 0],
        ['beside', 0],
        ['second', 0],
      ],
    );
    assert.equal(done.status?.conditions?.find(({ type }) => type === 'Ready')?.reason, 'PodCompleted');
    await remove('steps');
  });

  test('a crashing container is restarted at once, then waits', async () => {
    await node.apply(pod('crash', shell('echo try; echo last words > /dev/termination-log; exit 7')));
    const found = await eventually('it waits in CrashLoopBackOff', async () => {
      const now = await get('crash');
      const status = now.status?.containerStatuses?.[0];
      return status?.state?.waiting?.reason === 'CrashLoopBackOff' && status;
    });
    assert.equal(found.restartCount, 1);
    assert.equal(found.lastState?.terminated?.exitCode, 7);
    assert.equal(found.lastState?.terminated?.message, 'last words\n');
    assert.equal(await node.kubectl('logs', 'crash', '--previous'), 'try\n');
    assert.match(await events('crash'), /BackOff: Back-off restarting failed container main/);
    await remove('crash');
  });

  test('restartPolicy Never ends in Failed or Succeeded', async () => {
    await node.apply(pod('bad', shell('exit 4'), { restartPolicy: 'Never' }));
    await node.apply(pod('good', shell('exit 0'), { restartPolicy: 'Never' }));
    const bad = await phase('bad', 'Failed');
    assert.equal(bad.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'Error');
    const good = await phase('good', 'Succeeded');
    assert.equal(good.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
    await remove('bad');
    await remove('good');
  });

  test('a failed liveness probe restarts the container', async () => {
    const command = ['cat', '/tmp/alive'];
    const probe = { exec: { command }, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60 };
    await node.apply(
      pod('sick', {
        ...shell(`[ -f /shared/again ] || echo > /tmp/alive; ${forever}`),
        livenessProbe: probe,
      }),
    );
    await ready('sick');
    await node.kubectl('exec', 'sick', '--', 'sh', '-c', 'busybox rm /tmp/alive');
    await eventually(
      'it was restarted',
      async () => (await get('sick')).status?.containerStatuses?.[0]?.restartCount === 1,
    );
    assert.match(await events('sick'), /Killing: Container main failed liveness probe, will be restarted/);
    await remove('sick');
  });

  test('what the node cannot do is told, not passed over', async () => {
    await node.apply(
      pod('remote', shell(forever), {
        volumes: [{ name: 'data', nfs: { server: '10.41.0.1', path: '/' } }],
      }),
    );
    const remote = await phase('remote', 'Failed');
    assert.equal(remote.status?.reason, 'UnsupportedVolume');
    assert.match(remote.status?.message ?? '', /"data" is of kind nfs/);
    const sysctls = [{ name: 'net.core.somaxconn', value: '9' }];
    await node.apply(pod('tuned', shell(forever), { securityContext: { sysctls } }));
    const tuned = await phase('tuned', 'Failed');
    assert.equal(tuned.status?.reason, 'SysctlForbidden');
    assert.match(
      await events('tuned'),
      /SysctlForbidden: forbidden sysctl: "net.core.somaxconn" not allowlisted/,
    );
    await node.apply(pod('absent', { image: 'fairlead.dev/absent:1', imagePullPolicy: 'Never' }));
    await eventually('ErrImageNeverPull is shown', async () => {
      const found = await get('absent');
      return found.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'ErrImageNeverPull';
    });
    await node.apply(
      pod('keyless', {
        ...shell(forever),
        env: [{ name: 'X', valueFrom: { configMapKeyRef: { name: 'nowhere', key: 'x' } } }],
      }),
    );
    await eventually('CreateContainerConfigError is shown', async () => {
      const found = await get('keyless');
      return found.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CreateContainerConfigError';
    });
    await node.kubectl('delete', 'pod', 'remote', 'tuned', 'absent', 'keyless');
  });

  test('a readiness gate keeps a Pod from being ready, kernel parameters are its own', async () => {
    const sysctls = [{ name: 'net/ipv4/tcp_fin_timeout', value: '17' }];
    const readinessGates = [{ conditionType: 'example.com/in' }];
    await node.apply(pod('held', shell(forever), { readinessGates, securityContext: { sysctls } }));
    await eventually('all is ready but the gate', async () => {
      const conditions = (await get('held')).status?.conditions ?? [];
      const told = conditions.map(({ type, status, reason = '' }) => `${type}=${status} ${reason}`);
      return (
        told.includes('ContainersReady=True ') && told.includes('Ready=False ReadinessGatesNotReady') && told
      );
    });
    assert.match(await node.kubectl('get', 'pod', 'held', '-o', 'wide'), / 0\/1$/m);
    const open = { status: { conditions: [{ type: 'example.com/in', status: 'True' }] } };
    await node.kubectl('patch', 'pod', 'held', '--subresource=status', '-p', JSON.stringify(open));
    await ready('held');
    assert.match(await node.kubectl('get', 'pod', 'held', '-o', 'wide'), / 1\/1$/m);
    assert.match(
      await node.kubectl('exec', 'held', '--', 'cat', '/proc/sys/net/ipv4/tcp_fin_timeout'),
      /^17/,
    );
    await remove('held');
  });

  test('a StatefulSet finds its file again after its Pod was deleted', async () => {
    const disk = join(node.dataDir, 'disk');
    const affinity = { key: 'kubernetes.io/hostname', operator: 'In', values: ['server-0'] };
    await mkdir(disk);
    await node.apply({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'disk' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        local: { path: disk },
        nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [affinity] }] } },
      },
    });
    const labels = { app: 'db' };
    const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
    const mounts = [
      { name: 'data', mountPath: '/data', subPath: 'db' },
      { name: 'data', mountPath: '/whole', readOnly: true },
    ];
    const script = `echo "$(cat /data/uids 2>/dev/null) $(cat /uid/uid)" > /data/uids; touch /whole/x && exit 1; ${forever}`;
    const uid = { items: [{ path: 'uid', fieldRef: { fieldPath: 'metadata.uid' } }] };
    const container = {
      name: 'main',
      image: 'busybox',
      imagePullPolicy: 'IfNotPresent',
      ...shell(script),
      volumeMounts: [...mounts, { name: 'uid', mountPath: '/uid' }],
      readinessProbe: { exec: { command: ['cat', '/data/uids'] }, periodSeconds: 1 },
    };
    const volumes = [{ name: 'uid', downwardAPI: uid }];
    await node.apply({
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db' },
      spec: {
        serviceName: 'db',
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { terminationGracePeriodSeconds: 1, containers: [container], volumes },
        },
        volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: claim }],
      },
    });
    const first = (await ready('db-0')).metadata?.uid;
    await remove('db-0');
    const second = (await ready('db-0')).metadata?.uid;
    assert.notEqual(second, first);
    assert.equal(await readFile(join(disk, 'db', 'uids'), 'utf8'), ` ${first} ${second}\n`);
    await assert.rejects(access(join(disk, 'x')), 'a read-only mount was written to');

    await node.kubectl('delete', 'statefulset/db', 'pvc/data-db-0', '--wait=true');
    await eventually(
      'the Pod is gone',
      async () => (await node.kubectl('get', 'pod', '-l', 'app=db')) === '',
    );
    const released = await eventually('the volume is released', async () => {
      const text = await node.kubectl('get', 'pv', 'disk', '-o', 'jsonpath={.status.phase}');
      return text === 'Released' && text;
    });
    assert.equal(released, 'Released');
    await access(join(disk, 'db', 'uids'));
    await node.kubectl('delete', 'pv', 'disk');
  });

  test('a stopped Pod gets its hook and its time, and leaves nothing', async () => {
    const hook = { preStop: { exec: { command: ['sh', '-c', 'echo hook > /shared/stop'] } } };
    await node.apply(
      pod(
        'polite',
        {
          command: [
            'sh',
            '-c',
            `trap "echo term >> /shared/stop; exit 0" TERM; while true; do sleep 0.05; done`,
          ],
          lifecycle: hook,
          volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
        },
        {
          terminationGracePeriodSeconds: 20,
          volumes: [{ name: 'shared', hostPath: { path: join(node.dataDir, 'outside') } }],
        },
      ),
    );
    const found = await ready('polite');
    const uid = found.metadata?.uid ?? '';
    await remove('polite');
    assert.equal(await readFile(join(node.dataDir, 'outside', 'stop'), 'utf8'), 'hook\nterm\n');
    await eventually('folders and control groups are gone', async () => {
      const left = [
        ...(await entriesOf(join(node.dataDir, 'nodes/server-0/pods'))),
        ...(await entriesOf(join(node.dataDir, 'nodes/server-0/pod-logs'))),
        ...(await cgroupsOf(uid)),
      ];
      return left.every((entry) => !entry.includes(uid));
    });
  });

  /** Writes 20 MB to a file, then refuses to end by SIGTERM: only a kill at once makes it go in the time of a test. */
  const hoard = (file: string) =>
    shell(`trap "" TERM; busybox dd if=/dev/zero of=${file} bs=1M count=20; while true; do sleep 0.05; done`);
  const stubborn = { terminationGracePeriodSeconds: 600 };

  test('a Pod whose emptyDir outgrows its sizeLimit is evicted', async () => {
    const volumes = [{ name: 'scratch', emptyDir: { sizeLimit: '10Mi' } }];
    const volumeMounts = [{ name: 'scratch', mountPath: '/scratch' }];
    const modest = { ...shell(`echo little > /scratch/file; ${forever}`), volumeMounts };
    await node.apply(pod('modest', modest, { volumes }));
    await ready('modest');
    await node.apply(pod('hoarder', { ...hoard('/scratch/file'), volumeMounts }, { ...stubborn, volumes }));
    const found = await phase('hoarder', 'Failed');
    const message = 'Usage of EmptyDir volume "scratch" exceeds the limit "10Mi". ';
    assert.deepEqual([found.status?.reason, found.status?.message], ['Evicted', message]);
    await eventually('its container is killed', async () => {
      const state = (await get('hoarder')).status?.containerStatuses?.[0]?.state;
      return state?.terminated?.exitCode === 137;
    });
    assert.ok((await events('hoarder')).includes(`Evicted: ${message}`));
    assert.equal((await get('modest')).status?.phase, 'Running');
    await remove('hoarder');
    await remove('modest');
  });

  test('a container that writes more than its limit of ephemeral storage is evicted with its Pod', async () => {
    const resources = { limits: { 'ephemeral-storage': '10Mi' } };
    const beside = { name: 'beside', image: 'busybox', imagePullPolicy: 'IfNotPresent', ...shell(forever) };
    const roomy = { ...beside, resources: { limits: { 'ephemeral-storage': '1Gi' } } };
    const layer = pod('layer', { ...hoard('/tmp/file'), resources }, stubborn);
    await node.apply({
      ...layer,
      spec: { ...layer.spec, containers: [...(layer.spec?.containers ?? []), roomy] },
    });
    const found = await phase('layer', 'Failed');
    assert.equal(found.status?.reason, 'Evicted');
    assert.equal(found.status?.message, 'Container main exceeded its local ephemeral storage limit "10Mi". ');
    await remove('layer');
  });

  test('Pods outlive the node agent and containerd, and are adopted', async () => {
    await node.apply(pod('steady', shell(forever)));
    const memory = { volumes: [{ name: 'memory', emptyDir: { medium: 'Memory' } }] };
    const volumeMounts = [{ name: 'memory', mountPath: '/memory' }];
    await node.apply(pod('doomed', { ...shell(forever), volumeMounts }, memory));
    const before = await ready('steady');
    const doomed = await ready('doomed');
    await node.stopAgent('SIGKILL', { containerd: true });
    await node.kubectl('delete', 'pod', 'doomed', '--force', '--grace-period=0');
    await node.startAgent();
    await eventually('the Pod without an object is removed', async () => {
      return (await cgroupsOf(doomed.metadata?.uid ?? '')).length === 0;
    });
    const found = await ready('steady');
    assert.deepEqual(
      found.status?.containerStatuses?.map(({ containerID, restartCount, state }) => [
        containerID,
        restartCount,
        state,
      ]),
      before.status?.containerStatuses?.map(({ containerID, restartCount, state }) => [
        containerID,
        restartCount,
        state,
      ]),
    );
    assert.equal(await node.kubectl('exec', 'steady', '--', 'echo', 'still here'), 'still here\n');
    await remove('steady');
  });

  test('a process of the supervisor is shown as a mirror Pod', async () => {
    const dir = join(node.dataDir, 'nodes/server-0/static-pods');
    const state = { name: 'helper', pid: process.pid, startedAtMs: Date.now(), restarts: 2 };
    const { writeFile } = await import('node:fs/promises');
    await writeFile(join('/run', node.name, 'processes', 'helper.json'), JSON.stringify(state));
    const mirror = pod('helper', { image: 'fairlead.dev/helper:1' }, { hostNetwork: true });
    const annotated = {
      ...mirror,
      metadata: {
        ...mirror.metadata,
        namespace: 'kube-system',
        annotations: { 'fairlead.dev/process': 'helper' },
      },
    };
    await writeFile(join(dir, 'helper.json'), JSON.stringify(annotated));
    const found = await eventually('the mirror is ready', async () => {
      const now = JSON.parse(
        await node.kubectl('get', 'pod', 'helper-server-0', '-n', 'kube-system', '-o', 'json'),
      ) as Pod;
      return now.status?.phase === 'Running' && now;
    });
    assert.equal(found.status?.podIP, '10.41.0.2');
    assert.equal(found.status?.containerStatuses?.[0]?.restartCount, 2);
    assert.equal(found.status?.containerStatuses?.[0]?.ready, true);
    const { rm } = await import('node:fs/promises');
    await rm(join(dir, 'helper.json'));
    await eventually('the mirror goes with its file', async () =>
      (await node.kubectl('get', 'pods', '-n', 'kube-system', '-o', 'name')).includes('helper')
        ? undefined
        : true,
    );
  });

  async function cgroupsOf(uid: string): Promise<readonly string[]> {
    const root = '/sys/fs/cgroup';
    const controllers = [
      '',
      ...(await readdir(root, { withFileTypes: true }))
        .filter((entry) => entry.isDirectory())
        .map(({ name }) => name),
    ];
    const paths = controllers.map((controller) =>
      join(root, controller, 'fairlead', node.name, 'server-0', `pod${uid}`),
    );
    const present = await Promise.all(
      paths.map((path) =>
        access(path).then(
          () => path,
          () => undefined,
        ),
      ),
    );
    return present.filter((path) => path !== undefined);
  }
});
