import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { certificateRequest } from '../../test/support/certificate-request.ts';
import { parseCertificateRequest } from './certificate-request.ts';

/** By `openssl req -new -newkey ec -subj /O=dev/O=ops/CN=jane -addext subjectAltName=…`, and with an RSA key and SHA-512. */
const ofOpenssl =
  'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQk1EQ0Ixd0lCQURBck1Rd3dDZ1lEVlFRS0RBTmtaWFl4RERBS0JnTlZCQW9NQTI5d2N6RU5NQXNHQTFVRQpBd3dFYW1GdVpUQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQUJIQ1J0dTgzUmlYOStDRHltNzdxCkNZQjNMV0FuQ2dLaHdXUVV3c2Ywdk1HVjR1ZjVhNGY1cFUrdEZUR1NSM21HZTNnTVRCVTFpSXI2aS9ZS2xNMEIKa2Z1Z1NqQklCZ2txaGtpRzl3MEJDUTR4T3pBNU1EY0dBMVVkRVFRd01DNkNDV0V1WlhoaGJYQnNaWWNFZndBQQpBWUVOYWtCbGVHRnRjR3hsTG05eVo0WU1jM0JwWm1abE9pOHZlQzk1TUFvR0NDcUdTTTQ5QkFNQ0EwZ0FNRVVDCklBS21NTWFwbEpyWFhnOVJYU25GNDhOSk0yaVZwNGx2WlhaWjBOVVVzSy9yQWlFQTVseC9aR1JNM1FKOERablcKRnlwZWhyOWVxWnlacG5kMDJ1VE92aHYrc0lNPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K';
const ofRsa =
  'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQ1V6Q0NBVHNDQVFBd0RqRU1NQW9HQTFVRUF3d0RhbTlsTUlJQklqQU5CZ2txaGtpRzl3MEJBUUVGQUFPQwpBUThBTUlJQkNnS0NBUUVBNnI3dlVibWxLQm1VY2p2VGE4ZDZqbE5YOEp3SlJuSmk5bmxJdFZEQmtwdW50MHFrCmI2c0hYUlRjY0dUeUdCWmJQVTNBSzRWVmhQNzBzY0cwSEVZVCtKdWtReW4rWU1rUmg4UVJ2S1doRDBzVTZpQ1QKMEdFWUtVTzY5ZFdSd3V0WEhkdUNFWEVSaDljQmlNc2VzL2hDV1NUWWNDTGFmdFV1NzY3VXU4YVNabXB6SzZlWgpzK2FzdEw3d1hyYVdBaHJGNDNOdnJkNlUrNzEzT1FBUGlFUGVLVjcrOWZZR1QrTXFkUndTOUNsVTNXT1VrNTk1CnZLT0pTNUZFUEp5VWhPT2VpOURMMktvVkNENEsrS2JvSzFpWm1LRWZKTHNvREtuWHBCU3BnNTArTXBPOThzdmQKekY3eUVLMHQ2aTE2QUhwbkxVSE9jWkx5Y0JrUXNkdVVEOHFpL3dJREFRQUJvQUF3RFFZSktvWklodmNOQVFFTgpCUUFEZ2dFQkFIVkRZcnZWUHdYODhJRzdGZ2pQdDJYNWhiL0o1U2Zra2FncDNIR2hpd1M5Qkx4emNJSlNHdEdqCldXcTVIekQ0QkpWRGo5N0pQVEp2dEZNNkRsUFZHZXRVK1RxZEZGMzdFYXorTmE4bHFGdENWSzMrdkRRQ0RjVVYKZHhhZ0dYNldPT1VQWTkxYW1QUjQyN3N5Qk5PSllRamwyWElOL0loYjFMb0VMQVBzMzZYY0FGdzQ3VlJ3NHdnYQo2ZUdsZExiVkRrdkNMM3VLaTl3ek1kUzVNSUc5d01LSW9vdExNc2JYbVRWbGxkQzhaa0NWSWIrSFV4bEhBMWtqClRCN2lmb1FaR3ZIQVdadUZJNTdTd0h4aWVhYWZvNHZTYkNsNzVKY2hSY3JWc3VkNSt4N1VsT28zVVpvMjFZdVkKdFUvVWdhb0o0UnhyNVpzaTJYcmFqT3dRRWdrWVh3QT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==';

test('certificate request: subject and alternative names as openssl writes them', () => {
  assert.deepEqual(parseCertificateRequest(ofOpenssl), {
    commonName: 'jane',
    organizations: ['dev', 'ops'],
    dnsNames: ['a.example'],
    addresses: ['7f000001'],
    emailAddresses: ['j@example.org'],
    uris: ['spiffe://x/y'],
  });
  const rsa = parseCertificateRequest(ofRsa);
  assert.ok(typeof rsa !== 'string');
  assert.equal(rsa.commonName, 'joe');
});

test('certificate request: the one that tests make is read like those of others', () => {
  const { base64 } = certificateRequest({
    commonName: 'system:node:a',
    organizations: ['system:nodes'],
    addresses: [[10, 0, 0, 1]],
  });
  assert.deepEqual(parseCertificateRequest(base64), {
    commonName: 'system:node:a',
    organizations: ['system:nodes'],
    dnsNames: [],
    addresses: ['0a000001'],
    emailAddresses: [],
    uris: [],
  });
});

test('certificate request: what is none is told in a text', () => {
  const pem = Buffer.from(ofOpenssl, 'base64').toString();
  const encoded = (text: string): string => Buffer.from(text).toString('base64');
  const changed = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const subject = changed.indexOf('jane');
  changed.write('jack', subject);
  for (const [request, want] of [
    ['', /PEM block type must be CERTIFICATE REQUEST/],
    [encoded(pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE')), /PEM block type must be/],
    [encoded(pem.slice(0, 300) + pem.slice(pem.indexOf('-----END'))), /malformed certificate request/],
    [
      encoded(
        `-----BEGIN CERTIFICATE REQUEST-----\n${changed.toString('base64')}\n-----END CERTIFICATE REQUEST-----`,
      ),
      /signature is not valid/,
    ],
  ] as const) {
    const problem = parseCertificateRequest(request);
    assert.ok(typeof problem === 'string');
    assert.match(problem, want);
  }
});

test('certificate request: any change of a byte is refused or read, and nothing is thrown', () => {
  const pem = Buffer.from(ofOpenssl, 'base64').toString();
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bytes = Buffer.from(der);
      bytes[at] = (bytes[at] ?? 0) ^ change;
      const text = `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
      parseCertificateRequest(Buffer.from(text).toString('base64'));
    }),
  );
});
