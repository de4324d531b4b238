/** Accepts connections at port 8080 and closes them; run in a network namespace of its own by connect.ts. */
import { createServer } from 'node:net';

const port = 8080;
const backlog = 4096;

createServer((socket) => {
  socket.on('error', () => {});
  socket.destroy();
}).listen({ port, host: '0.0.0.0', backlog }, () => process.stdout.write('ready\n'));
process.stdin.resume().on('end', () => process.exit(0));
