import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { StatusError } from '../api/status.ts';
import { decodeProtobufBody } from './protobuf-body.ts';

const magic = [0x6b, 0x38, 0x73, 0x00];

function message(write: (writer: BinaryWriter) => void): Uint8Array {
  const writer = new BinaryWriter();
  write(writer);
  return writer.finish();
}

function envelope(apiVersion: string, kind: string, raw: Uint8Array): Buffer {
  const typeMeta = message((writer) => writer.uint32(10).string(apiVersion).uint32(18).string(kind));
  const unknown = message((writer) => writer.uint32(10).bytes(typeMeta).uint32(18).bytes(raw));
  return Buffer.concat([Buffer.from(magic), unknown]);
}

test('protobuf body: a Service as client-go writes it', () => {
  const port = message((writer) =>
    writer
      .uint32(18) // protocol
      .string('TCP')
      .uint32(24) // port
      .int32(80)
      .uint32(34) // targetPort: IntOrString {type 1, strVal}
      .bytes(message((inner) => inner.uint32(8).int64(1).uint32(26).string('http')))
      .uint32(40) // nodePort: not set
      .int32(0),
  );
  const selector = message((writer) => writer.uint32(10).string('app').uint32(18).string('web'));
  const spec = message((writer) =>
    writer.uint32(10).bytes(port).uint32(18).bytes(selector).uint32(26).string(''),
  );
  const metadata = message((writer) =>
    writer
      .uint32(10)
      .string('web')
      .uint32(66)
      .bytes(message((time) => time.uint32(8).int64(1_700_000_000))),
  );
  const raw = message((writer) => writer.uint32(10).bytes(metadata).uint32(18).bytes(spec));
  assert.deepEqual(decodeProtobufBody(envelope('v1', 'Service', raw), 'core/v1.Service'), {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', creationTimestamp: '2023-11-14T22:13:20Z' },
    spec: { ports: [{ protocol: 'TCP', port: 80, targetPort: 'http' }], selector: { app: 'web' } },
  });
});

test('protobuf body: embedded messages stand in their parent, and a chosen zero stays', () => {
  // DeploymentSpec.replicas = 0; Probe {handler 1 {httpGet 2 {path 1}}} in a container's livenessProbe.
  const get = message((writer) => writer.uint32(10).string('/healthz'));
  const handler = message((writer) => writer.uint32(18).bytes(get));
  const probe = message((writer) => writer.uint32(10).bytes(handler));
  const container = message((writer) => writer.uint32(10).string('web').uint32(82).bytes(probe));
  const podSpec = message((writer) => writer.uint32(18).bytes(container));
  const template = message((writer) => writer.uint32(18).bytes(podSpec));
  const spec = message((writer) => writer.uint32(8).int32(0).uint32(26).bytes(template));
  const raw = message((writer) => writer.uint32(18).bytes(spec));
  assert.deepEqual(decodeProtobufBody(envelope('apps/v1', 'Deployment', raw), 'apps/v1.Deployment')['spec'], {
    replicas: 0,
    template: {
      spec: { containers: [{ name: 'web', livenessProbe: { httpGet: { path: '/healthz' } } }] },
    },
  });
});

test('protobuf body: whatever the bytes, an object or a StatusError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, framed) => {
      const body = framed ? envelope('v1', 'Pod', bytes) : Buffer.from(bytes);
      try {
        assert.equal(typeof decodeProtobufBody(body, 'core/v1.Pod'), 'object');
      } catch (error) {
        assert.ok(error instanceof StatusError);
      }
    }),
  );
});
