/** A server of gRPC by hand for the benchmark: whatever messages come are sent back. Argument: its port on the loopback. */
import { createServer, type ServerHttp2Stream } from 'node:http2';

const server = createServer({ settings: { maxConcurrentStreams: 1000 } });
server.on('stream', (stream: ServerHttp2Stream) => {
  stream.on('error', () => stream.destroy());
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.pipe(stream);
});
server.listen(Number(process.argv[2]), '127.0.0.1');
