/**
 * The course, from the first `kubectl apply` to the clean-up, as a person would follow it: the real kubectl, real
 * containers and real traffic on a cluster of four nodes.
 */
import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { examples, importImages, leftovers, planCluster, type TestCluster } from '../support/cluster.ts';
import { get, startLoad } from '../support/load.ts';
import { eventually, missingForCluster, run, runOk } from '../support/shell.ts';
import { openTerminal } from '../support/terminal.ts';

const missing = missingForCluster();
const ingressHost = 'caddy.local.trapti.tech';
const manifest = (name: string): string => join(examples, name);

/** Cells of a kubectl table, one record a row, by column heading. Columns are found by the heading's position. */
function table(text: string): readonly Readonly<Record<string, string>>[] {
  const [heading = '', ...rows] = text.trimEnd().split('\n');
  const columns = [...heading.matchAll(/\S+(?: \S+)*/g)].map((match) => ({
    name: match[0],
    from: match.index,
  }));
  return rows.map((row) =>
    Object.fromEntries(
      columns.map((column, index) => [column.name, row.slice(column.from, columns[index + 1]?.from).trim()]),
    ),
  );
}

describe('the course', { skip: missing ?? false, timeout: 900_000 }, () => {
  let cluster: TestCluster;
  let clusterIP = '';

  /** Runs a shell line in the Pod `shell`, which stays for the whole course. */
  const inPod = (line: string, namespace = 'default') =>
    runOk('kubectl', ['exec', '-n', namespace, 'shell', '--', 'sh', '-c', line], {
      env: { KUBECONFIG: cluster.kubeconfig },
    });

  const podNames = async (selector = 'app=caddy'): Promise<readonly string[]> => {
    const names = await cluster.kubectl(`get pods -l ${selector} -o jsonpath={.items[*].metadata.name}`);
    return names.split(' ').filter((name) => name !== '');
  };

  /** Asks `url` over new connections until each of the caddy Pods has answered; fails if one never does. */
  const everyPodAnswers = async (ask: () => Promise<readonly string[]>): Promise<void> => {
    const seen = new Set<string>();
    await eventually(async () => {
      for (const name of await ask()) seen.add(name);
      // Asked each time: one that was about to go is not waited for.
      assert.deepEqual(
        (await podNames()).filter((name) => !seen.has(name)),
        [],
      );
    });
  };

  const curlInPod = async (url: string, times = 12): Promise<readonly string[]> => {
    const output = await inPod(
      `for i in $(seq ${times}); do curl -sS --max-time 30 -o /dev/null -D - ${url} | tr -d '\\r' | grep -i '^x-pod:' | cut -d' ' -f2; done`,
    );
    const names = output.split('\n').filter((line) => line !== '');
    assert.equal(names.length, times, `every request to ${url} is answered`);
    return names;
  };

  before(async () => {
    cluster = await planCluster({
      name: `course${process.pid}`,
      agents: 3,
      ingressClass: 'fairlead,traefik',
    });
    await cluster.up();
    await importImages(cluster, ['caddy', 'alpine', 'echo']);
  });

  after(async () => {
    await cluster.down();
    assert.deepEqual(await leftovers(cluster), [], 'nothing is left behind');
  });

  test('four nodes are Ready', async () => {
    const nodes = table(await cluster.kubectl('get nodes'));
    assert.deepEqual(
      nodes.map((node) => [node['NAME'], node['STATUS']]),
      [
        ['agent-0', 'Ready'],
        ['agent-1', 'Ready'],
        ['agent-2', 'Ready'],
        ['server-0', 'Ready'],
      ],
    );
  });

  test('1: a Deployment of three caddy Pods runs, spread over the nodes', async () => {
    assert.match(
      await cluster.kubectl(`apply -f ${manifest('4_deployment.yaml')}`),
      /deployment.apps\/caddy created/,
    );
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
    const pods = table(await cluster.kubectl('get pods -l app=caddy -o wide'));
    assert.equal(pods.length, 3);
    for (const pod of pods) {
      assert.match(pod['NAME'] ?? '', /^caddy-[a-z0-9]+-[a-z0-9]{5}$/);
      assert.deepEqual([pod['READY'], pod['STATUS'], pod['RESTARTS']], ['1/1', 'Running', '0']);
      assert.match(pod['AGE'] ?? '', /^\d+s$/);
    }
    assert.equal(new Set(pods.map((pod) => pod['NODE'])).size, 3, 'three nodes');
    assert.equal(
      new Set(pods.map((pod) => pod['IP']?.split('.').slice(0, 3).join('.'))).size,
      3,
      'three /24s',
    );
  });

  test('2: a ClusterIP Service gets an address and endpoints that follow the Pods', async () => {
    await cluster.kubectl(`apply -f ${manifest('5_service.yaml')}`);
    const services = table(await cluster.kubectl('get services'));
    assert.deepEqual(
      services.map((service) => service['NAME']),
      ['caddy', 'kubernetes'],
    );
    for (const service of services) assert.match(service['CLUSTER-IP'] ?? '', /^10\.43\.\d+\.\d+$/);
    clusterIP = services.find((service) => service['NAME'] === 'caddy')?.['CLUSTER-IP'] ?? '';

    const addresses = async (): Promise<readonly string[]> =>
      (
        await cluster.kubectl(
          'get endpointslices -l kubernetes.io/service-name=caddy -o jsonpath={.items[*].endpoints[?(@.conditions.ready)].addresses[0]}',
        )
      )
        .split(' ')
        .filter((address) => address !== '')
        .toSorted();
    const podAddresses = async (): Promise<readonly string[]> =>
      (
        await cluster.kubectl(
          'get pods -l app=caddy --field-selector status.phase=Running -o jsonpath={.items[*].status.podIP}',
        )
      )
        .split(' ')
        .filter((address) => address !== '')
        .toSorted();
    await eventually(async () => assert.deepEqual(await addresses(), await podAddresses()));
    await cluster.kubectl('scale deployment/caddy --replicas=5');
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
    await eventually(async () => assert.equal((await addresses()).length, 5));
    await cluster.kubectl('scale deployment/caddy --replicas=3');
    await eventually(async () => {
      assert.equal((await podNames()).length, 3);
      assert.deepEqual(await addresses(), await podAddresses());
    });
    const [victim = ''] = await podNames();
    const address = await cluster.kubectl(`get pod ${victim} -o jsonpath={.status.podIP}`);
    await cluster.kubectl(`delete pod ${victim} --wait=false`);
    await eventually(async () => assert.equal((await addresses()).includes(address), false));
    await cluster.kubectl('rollout status deployment/caddy --timeout=60s');
  });

  test('3a: kubectl run --rm -it gives a shell in a terminal', async () => {
    const terminal = openTerminal('kubectl run --rm -it tmp --image alpine:latest -- sh', {
      KUBECONFIG: cluster.kubeconfig,
    });
    try {
      await terminal.expect(/\/ # /);
      terminal.type('stty size; echo on-$(hostname)\r');
      await terminal.expect(/\d+ \d+\r\non-tmp/);
      terminal.type('curl -s -o /dev/null -w "%{http_code}" http://caddy/\r');
      await terminal.expect(/200/);
      terminal.type('exit 3\r');
      await terminal.expect(/pod "tmp" deleted/);
      await terminal.exited();
    } finally {
      terminal.kill();
    }
    // kubectl does not wait for what --rm deletes.
    await eventually(async () => assert.match((await cluster.tryKubectl('get pod tmp')).stderr, /NotFound/));
  });

  test('3b: the Service answers by address and by each of its names, from all Pods', async () => {
    await cluster.kubectl('run shell --image alpine:latest --command -- sleep 100000');
    await cluster.kubectl('wait --for=condition=Ready pod/shell --timeout=60s');
    for (const host of [clusterIP, 'caddy', 'caddy.default', 'caddy.default.svc.cluster.local']) {
      await everyPodAnswers(() => curlInPod(`http://${host}/`));
    }
  });

  test('3c: from another namespace the short name does not resolve and name.namespace does', async () => {
    await cluster.kubectl('create namespace other');
    await cluster.kubectl(
      'run shell -n other --image alpine:latest --overrides={"spec":{"terminationGracePeriodSeconds":1}} --command -- sleep 100000',
    );
    await cluster.kubectl('wait -n other --for=condition=Ready pod/shell --timeout=60s');
    assert.match(
      await inPod('curl -sS --max-time 30 http://caddy/ 2>&1 || true', 'other'),
      /Could not resolve host/,
    );
    assert.match(
      await inPod("curl -sS --max-time 30 -o /dev/null -w '%{http_code}' http://caddy.default/", 'other'),
      /200/,
    );
    await cluster.kubectl('delete namespace other');
    assert.match((await cluster.tryKubectl('get namespace other')).stderr, /NotFound/);
  });

  test('3d: a Service for TCP and UDP balances both', async () => {
    await cluster.kubectl(`apply -f ${manifest('echo.yaml')}`);
    await cluster.kubectl('rollout status deployment/echo --timeout=60s');
    const wanted = (await podNames('app=echo')).toSorted();
    assert.equal(wanted.length, 3);
    for (const protocol of ['-N', '-u']) {
      const seen = new Set<string>();
      await eventually(async () => {
        const output = await inPod(
          `for i in $(seq 6); do echo hello | /usr/bin/nc ${protocol} -w 1 echo 7; done`,
        );
        for (const line of output.split('\n'))
          for (const name of wanted) if (line.includes(name)) seen.add(name);
        assert.deepEqual([...seen].toSorted(), wanted);
      });
    }
  });

  test('4: a LoadBalancer Service answers on localhost and its node port on every node', async () => {
    await cluster.kubectl(`apply -f ${manifest('5_lb_service.yaml')}`);
    const row = await eventually(async () => {
      const rows = table(await cluster.kubectl('get services'));
      const found = rows.find((service) => service['TYPE'] === 'LoadBalancer');
      assert.match(found?.['EXTERNAL-IP'] ?? '', /^10\.41\.0\.\d+(,10\.41\.0\.\d+){3}$/);
      return found;
    });
    const nodePort = /^8080:(3\d{4})\/TCP$/.exec(row?.['PORT(S)'] ?? '')?.[1];
    assert.ok(nodePort !== undefined, `PORT(S) is ${row?.['PORT(S)']}`);
    await everyPodAnswers(async () => [
      String((await get(`http://localhost:${cluster.ports.lb}/`)).headers['x-pod']),
    ]);
    for (const address of (row?.['EXTERNAL-IP'] ?? '').split(',')) {
      const fetched = await runOk('ip', [
        'netns',
        'exec',
        `fairlead-${cluster.name}-net`,
        'curl',
        '-sS',
        '--max-time',
        '60',
        '-o',
        '/dev/null',
        '-w',
        '%{http_code}',
        `http://${address}:${nodePort}/`,
      ]);
      assert.equal(fetched, '200', `node port on ${address}`);
    }
  });

  test('5: the IngressClass is there and is the default', async () => {
    const classes = table(await cluster.kubectl('get ingressclass'));
    assert.deepEqual(
      classes.map((row) => [row['NAME'], row['CONTROLLER']]),
      [
        ['fairlead', 'fairlead.dev/ingress'],
        ['traefik', 'fairlead.dev/ingress'],
      ],
    );
    assert.match(
      await cluster.kubectl('get ingressclass fairlead -o yaml'),
      /ingressclass\.kubernetes\.io\/is-default-class: "true"/,
    );
    assert.doesNotMatch(await cluster.kubectl('get ingressclass traefik -o yaml'), /is-default-class/);
  });

  for (const [file, className] of [
    ['5_ingress.yaml', 'fairlead'],
    ['5_ingress_traefik.yaml', 'traefik'],
  ] as const) {
    test(`6a: an Ingress with a host rule answers (${file})`, async () => {
      await cluster.kubectl(`apply -f ${manifest(file)}`);
      const [row] = await eventually(async () => {
        const rows = table(await cluster.kubectl('get ingress'));
        assert.match(rows[0]?.['ADDRESS'] ?? '', /^10\.41\.0\.\d+/);
        return rows;
      });
      assert.deepEqual([row?.['CLASS'], row?.['HOSTS'], row?.['PORTS']], [className, ingressHost, '80']);
      const url = `http://localhost:${cluster.ports.http}/`;
      await eventually(async () => assert.equal((await get(url, { host: ingressHost })).status, 200));
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      await everyPodAnswers(async () => [
        String((await get(url, { host: ingressHost }, agent)).headers['x-pod']),
      ]);
      agent.destroy();
      assert.equal((await get(url, { host: 'unknown.example' })).status, 404);
      if (className === 'traefik') return;
      await cluster.kubectl(`delete -f ${manifest(file)}`);
      await eventually(async () => assert.equal((await get(url, { host: ingressHost })).status, 404));
    });
  }

  test('6b: https answers with the Secret of the Ingress, else with a certificate of the cluster', async () => {
    const certificateOf = async (host: string): Promise<string> => {
      const result = await run('curl', [
        '-skv',
        '--max-time',
        '60',
        '--resolve',
        `${host}:${cluster.ports.https}:127.0.0.1`,
        `https://${host}:${cluster.ports.https}/`,
      ]);
      return result.stderr;
    };
    assert.match(await certificateOf(ingressHost), /issuer: .*fairlead/i);
    const folder = cluster.dataDir;
    await runOk('openssl', [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=course-secret',
      '-addext',
      `subjectAltName=DNS:${ingressHost}`,
      '-keyout',
      join(folder, 't.key'),
      '-out',
      join(folder, 't.crt'),
    ]);
    await cluster.kubectl(
      `create secret tls caddy-tls --cert=${join(folder, 't.crt')} --key=${join(folder, 't.key')}`,
    );
    await runOk(
      'kubectl',
      [
        'patch',
        'ingress',
        'caddy',
        '--type=merge',
        '-p',
        JSON.stringify({ spec: { tls: [{ hosts: [ingressHost], secretName: 'caddy-tls' }] } }),
      ],
      { env: { KUBECONFIG: cluster.kubeconfig } },
    );
    await eventually(async () => assert.match(await certificateOf(ingressHost), /subject: CN=course-secret/));
    const rows = table(await cluster.kubectl('get ingress'));
    assert.equal(rows[0]?.['PORTS'], '80, 443');
  });

  test('7: the DNS and ingress services are there, with their Pods', async () => {
    const output = await cluster.kubectl('get svc,pods -n kube-system');
    for (const name of ['service/kube-dns', 'service/ingress', 'pod/dns-server-0', 'pod/ingress-server-0'])
      assert.match(output, new RegExp(name));
    assert.match(await cluster.kubectl('get pods -n kube-system'), /dns-server-0\s+1\/1\s+Running/);
  });

  test('8: a rolling restart under constant load loses no request, through the Service and through the Ingress', async () => {
    const service = startLoad({ url: `http://localhost:${cluster.ports.lb}/`, keepAlive: false });
    const ingress = startLoad({
      url: `http://localhost:${cluster.ports.http}/`,
      headers: { host: ingressHost },
      keepAlive: true,
    });
    const clusterLoad = inPod(
      "fails=0; n=0; end=$(( $(date +%s) + 12 )); while [ $(date +%s) -lt $end ]; do n=$((n+1)); c=$(curl -s --max-time 30 -o /dev/null -w '%{http_code}' http://caddy/); [ $c = 200 ] || { fails=$((fails+1)); echo bad $c; }; done; echo total $n failed $fails",
    );
    const before = await podNames();
    for (let round = 0; round < 2; round += 1) {
      await cluster.kubectl('rollout restart deployment/caddy');
      await cluster.kubectl('rollout status deployment/caddy --timeout=90s');
    }
    await eventually(async () =>
      assert.equal((await podNames()).filter((name) => before.includes(name)).length, 0),
    );
    for (const [path, stop] of [
      ['Service', service],
      ['Ingress', ingress],
    ] as const) {
      const result = await stop();
      assert.deepEqual(
        result.failures.slice(0, 5),
        [],
        `${path}: ${result.failures.length} of ${result.requests} failed`,
      );
      assert.ok(result.requests > 50, `${path}: only ${result.requests} requests were made`);
    }
    assert.match(await clusterLoad, /failed 0$/m);
  });

  test('9: port-forward, logs, exec, describe, scale and rollout status work', async () => {
    const [pod = ''] = await podNames();
    assert.match(await cluster.kubectl(`logs ${pod}`), /serving|caddy|config/i);
    assert.match(await cluster.kubectl(`exec ${pod} -- caddy version`), /\d/);
    const failed = await cluster.tryKubectl(`exec ${pod} -- caddy no-such-command`);
    assert.equal(failed.code, 1, 'the exit code of the command comes back');
    const described = await cluster.kubectl(`describe pod ${pod}`);
    for (const line of [/Status:\s+Running/, /Ready\s+True/, /Scheduled/, /Started/])
      assert.match(described, line);
    assert.match(await cluster.kubectl('describe service caddy'), /Endpoints:\s+10\.42\./);
    assert.match(await cluster.kubectl('describe ingress caddy'), new RegExp(ingressHost));
    assert.match(await cluster.kubectl('describe deployment caddy'), /3 available/);
    assert.match(await cluster.kubectl('describe node server-0'), /PodCIDR:\s+10\.42\.\d+\.0\/24/);

    const forward = openTerminal('kubectl port-forward service/caddy :80', {
      KUBECONFIG: cluster.kubeconfig,
    });
    try {
      const match = await forward.expect(/127\.0\.0\.1:(\d+) -> 80/);
      for (let i = 0; i < 3; i += 1) assert.equal((await get(`http://127.0.0.1:${match[1]}/`)).status, 200);
    } finally {
      forward.kill();
    }
    await cluster.kubectl('scale deployment/caddy --replicas=4');
    assert.match(
      await cluster.kubectl('rollout status deployment/caddy --timeout=60s'),
      /successfully rolled out/,
    );
    await cluster.kubectl('scale deployment/caddy --replicas=3');
  });

  test('10: delete of everything above leaves nothing', async () => {
    for (const name of [
      '5_ingress_traefik.yaml',
      '5_lb_service.yaml',
      '5_service.yaml',
      '4_deployment.yaml',
      'echo.yaml',
    ]) {
      await cluster.kubectl(`delete -f ${manifest(name)}`, { timeoutMs: 180_000 });
    }
    await cluster.kubectl('delete secret caddy-tls');
    await cluster.kubectl('delete pod shell --grace-period=1');
    await eventually(async () => {
      assert.equal((await cluster.kubectl('get all -o name')).trim(), 'service/kubernetes');
      assert.equal(
        (await cluster.kubectl('get endpointslices,replicasets,pods,ingress -o name')).trim(),
        'endpointslice.discovery.k8s.io/kubernetes',
      );
    });
    for (const node of ['server-0', 'agent-0', 'agent-1', 'agent-2']) {
      const list = await runOk('ctr', [
        '-n',
        'k8s.io',
        '-a',
        `/run/fairlead/${cluster.name}/nodes/${node}/containerd.sock`,
        'containers',
        'list',
        '-q',
      ]);
      assert.equal(list.trim(), '', `containers on ${node}`);
    }
  });
});
