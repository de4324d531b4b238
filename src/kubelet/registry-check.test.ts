import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pullEndpoints, registryFolder } from './registry-check.ts';

for (const { name, image, hostsToml, folder, want } of [
  {
    name: 'a short name is of Docker Hub',
    image: 'caddy:latest',
    hostsToml: '',
    folder: 'docker.io',
    want: ['registry-1.docker.io:443'],
  },
  {
    name: 'a registry with a port',
    image: 'registry.example:5000/team/web:1',
    hostsToml: '',
    folder: 'registry.example:5000',
    want: ['registry.example:5000'],
  },
  {
    name: 'mirrors come beside the registry',
    image: 'docker.io/library/caddy',
    hostsToml:
      '[host."https://mirror.example"]\n  capabilities = ["pull"]\n[host."http://10.0.0.5:5000"]\n# [host."http://no"]\n',
    folder: 'docker.io',
    want: ['mirror.example:443', '10.0.0.5:5000', 'registry-1.docker.io:443'],
  },
  {
    name: 'a server takes the place of the registry',
    image: 'registry.example/web',
    hostsToml: 'server = "https://[2001:db8::1]:5443"\n',
    folder: 'registry.example',
    want: ['2001:db8::1:5443'],
  },
] as const) {
  test(`registry: ${name}`, () => {
    assert.equal(registryFolder(image), folder);
    assert.deepEqual(
      pullEndpoints(image, hostsToml).map(({ host, port }) => `${host}:${port}`),
      want,
    );
  });
}
