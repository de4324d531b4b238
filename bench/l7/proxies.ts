/** The proxies that are compared, each one process in front of the same backends, on the loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

export type Running = {
  readonly pid: number;
  readonly port: number;
  /** Where HTTP/2 is spoken in the clear. */
  readonly http2Port: number;
  stop(): Promise<void>;
};

export type Site = {
  /** Scratch folder; everything that a proxy writes goes there. */
  readonly folder: string;
  readonly port: number;
  readonly hosts: readonly string[];
  readonly backendPorts: readonly number[];
  /** Where /echo goes, which is upgraded. */
  readonly echoPort?: number;
  /** Serve the hosts over TLS, too, on the next port. */
  readonly certificate?: { readonly certFile: string; readonly keyFile: string; readonly bothFile: string };
  /** Backends speak HTTP/2: calls of gRPC. */
  readonly grpc?: boolean;
};

export type Proxy = {
  readonly name: string;
  /** Path of the program; undefined: it is not installed. */
  readonly program: string | undefined;
  start(site: Site): Promise<Running>;
};

const home = join(import.meta.dirname, '../..');

function programOf(name: string): string | undefined {
  return ['/usr/sbin', '/usr/bin', '/usr/local/bin']
    .map((dir) => join(dir, name))
    .find((file) => existsSync(file));
}

const nginx = programOf('nginx');
const haproxy = programOf('haproxy');
const caddy = programOf('caddy');
export const wrk = programOf('wrk');
export const h2load = programOf('h2load');

/** The load generator and the backends must be there; other proxies are left out when they are not. */
export const missing = [wrk === undefined ? 'wrk' : '', nginx === undefined ? 'nginx' : ''].filter(Boolean);

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

async function run(
  program: string,
  args: readonly string[],
  port: number,
  env = {},
  http2Port = port,
): Promise<Running> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  });
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  children.add(child);
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`${program} ended: ${errors}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return { pid: child.pid ?? 0, port, http2Port, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), 3000);
  await exited;
  clearTimeout(late);
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function nginxConfig(folder: string, http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr crit;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
  access_log off;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  server_names_hash_max_size 65536;
  server_names_hash_bucket_size 128;
${temporary.map((name) => `  ${name}_temp_path ${folder}/${name};`).join('\n')}
${http}
}
`;
}

/** A backend that answers /, /16k and /1m. */
export async function startBackend(folder: string, port: number): Promise<Running> {
  if (nginx === undefined) throw new Error('nginx is not installed');
  const own = join(folder, `backend-${port}`);
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, '16k'), 'x'.repeat(16_384));
  writeFileSync(join(own, '1m'), 'x'.repeat(1 << 20));
  const server = `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    root ${own};
    location = / { return 200 "hello from the backend, with some text\\n"; }
  }`;
  writeFileSync(join(own, 'nginx.conf'), nginxConfig(own, server));
  return run(nginx, ['-p', own, '-c', join(own, 'nginx.conf'), '-e', 'stderr'], port);
}

function nginxEcho(port: number): string {
  return `    location = /echo {
      proxy_pass http://127.0.0.1:${port};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }`;
}

function nginxTls(port: number, { certFile, keyFile }: NonNullable<Site['certificate']>): string {
  return `    listen 127.0.0.1:${port} ssl http2;
    ssl_certificate ${certFile};
    ssl_certificate_key ${keyFile};
    ssl_protocols TLSv1.3;
    ssl_session_tickets on;`;
}

/** A backend of gRPC in a process of its own: sends each message back. */
export function startGrpcBackend(port: number): Promise<Running> {
  return run(process.execPath, [join(import.meta.dirname, 'grpc-backend.ts'), String(port)], port);
}

async function startNginx({
  folder,
  port,
  hosts,
  backendPorts,
  certificate,
  echoPort,
  grpc,
}: Site): Promise<Running> {
  const own = join(folder, 'nginx');
  mkdirSync(own, { recursive: true });
  const servers = hosts.map(
    (host) => `
  server {
    listen 127.0.0.1:${port}${host === hosts[0] ? ' backlog=4096' : ''};
    listen 127.0.0.1:${port + 2} http2;
    server_name ${host};
${certificate === undefined ? '' : nginxTls(port + 1, certificate)}
${echoPort === undefined ? '' : nginxEcho(echoPort)}
    location / {
      ${grpc === true ? 'grpc_pass grpc://backend' : 'proxy_pass http://backend'};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Real-IP $remote_addr;
    }
  }`,
  );
  const upstream = `
  upstream backend {
${backendPorts.map((backend) => `    server 127.0.0.1:${backend};`).join('\n')}
    keepalive 1024;
    keepalive_requests 1000000000;
  }`;
  writeFileSync(join(own, 'nginx.conf'), nginxConfig(own, upstream + servers.join('')));
  return run(nginx ?? '', ['-p', own, '-c', join(own, 'nginx.conf'), '-e', 'stderr'], port, {}, port + 2);
}

async function startHaproxy({
  folder,
  port,
  hosts,
  backendPorts,
  certificate,
  echoPort,
  grpc,
}: Site): Promise<Running> {
  const map = join(folder, 'haproxy.map');
  writeFileSync(map, hosts.map((host) => `${host} backend\n`).join(''));
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 4s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:${port} backlog 4096
${certificate === undefined ? '' : `  bind 127.0.0.1:${port + 1} backlog 4096 ssl crt ${certificate.bothFile} alpn h2,http/1.1 ssl-min-ver TLSv1.3`}
  bind 127.0.0.1:${port + 2} proto h2
  option forwardfor
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
${echoPort === undefined ? '' : '  use_backend echo if { path /echo }'}
  use_backend %[req.hdr(host),lower,map(${map})]
${echoPort === undefined ? '' : `backend echo\n  server echo 127.0.0.1:${echoPort}`}
backend backend
${backendPorts.map((backend) => `  server s${backend} 127.0.0.1:${backend}${grpc === true ? ' proto h2' : ''}`).join('\n')}
`,
  );
  return run(haproxy ?? '', ['-f', file, '-db'], port, {}, port + 2);
}

async function startCaddy({ folder, port, hosts, backendPorts, echoPort, grpc }: Site): Promise<Running> {
  const own = join(folder, 'caddy');
  mkdirSync(own, { recursive: true });
  const to = backendPorts.map((backend) => `${grpc === true ? 'h2c://' : ''}127.0.0.1:${backend}`).join(' ');
  const echo = echoPort === undefined ? '' : `  reverse_proxy /echo 127.0.0.1:${echoPort}\n`;
  const sites = hosts.map((host) => `http://${host}:${port} {\n${echo}  reverse_proxy ${to}\n}\n`);
  writeFileSync(
    join(own, 'Caddyfile'),
    `{\n  admin off\n  auto_https off\n  default_bind 127.0.0.1\n  servers {\n    protocols h1 h2 h2c\n  }\n  log {\n    level ERROR\n  }\n}\n${sites.join('')}`,
  );
  const env = { GOMAXPROCS: '1', XDG_DATA_HOME: own, XDG_CONFIG_HOME: own, HOME: own };
  return run(caddy ?? '', ['run', '--config', join(own, 'Caddyfile'), '--adapter', 'caddyfile'], port, env);
}

/** The routes file of ours; replaced whole, so that it is never read half-written. */
export function routesFile({ folder, port, hosts, backendPorts, certificate, echoPort, grpc }: Site): string {
  const own = join(folder, `fairlead-${port}`);
  mkdirSync(own, { recursive: true });
  const file = join(own, 'routes.yaml');
  const backends = backendPorts.map((backend) => `"127.0.0.1:${backend}"`).join(', ');
  const how = grpc === true ? ', annotations: { backend-protocol: GRPC }' : '';
  const routes = hosts.map((name) => `  - { host: ${name}, path: /, backends: [${backends}]${how} }\n`);
  if (echoPort !== undefined)
    routes.push(`  - { path: /echo, backends: ["127.0.0.1:${echoPort}"], host: ${hosts[0]} }\n`);
  const shown =
    certificate === undefined
      ? ''
      : `certificates:\n  - { hosts: [${hosts.join(', ')}], cert: ${certificate.certFile}, key: ${certificate.keyFile} }\n`;
  writeFileSync(`${file}.new`, `routes:\n${routes.join('')}${shown}`);
  renameSync(`${file}.new`, file);
  return file;
}

function startOurs(transport: 'uring' | 'net') {
  return (site: Site): Promise<Running> => {
    const file = routesFile(site);
    const args = ['ingress', '--config', file, '--transport', transport, '--http', `127.0.0.1:${site.port}`];
    const https = site.certificate === undefined ? '' : `127.0.0.1:${site.port + 1}`;
    return run(join(home, 'fairlead'), [...args, '--https', https, '--health-address', ''], site.port);
  };
}

const ours = join(home, 'fairlead');

/** All that are installed here. */
export const proxies: readonly Proxy[] = (
  [
    { name: 'Fairlead, io_uring', program: ours, start: startOurs('uring') },
    { name: 'Fairlead, node:net', program: ours, start: startOurs('net') },
    { name: 'nginx, 1 worker', program: nginx, start: startNginx },
    { name: 'HAProxy, 1 thread', program: haproxy, start: startHaproxy },
    { name: 'Caddy, GOMAXPROCS=1', program: caddy, start: startCaddy },
  ] satisfies Proxy[]
).filter(({ program }) => program !== undefined);
