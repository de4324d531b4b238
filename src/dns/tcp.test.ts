import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { eventually } from '../../test/support/shell.ts';
import { systemClock } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import type { Resolver } from './resolver.ts';
import { serverLimits } from './server-limits.ts';
import { listenTcp } from './tcp.ts';

/** A server whose every question is answered by `resolve`. It is closed when the test ends. */
async function serve(
  t: TestContext,
  resolve: Resolver['resolve'],
  limits: Partial<Parameters<typeof listenTcp>[4]> = {},
): Promise<() => Promise<Socket>> {
  const resolver = { allow: () => true, quick: () => 0, took: () => {}, resolve } as unknown as Resolver;
  const where = { host: '127.0.0.1', port: 0 };
  const bounds = { ...serverLimits, ...limits };
  const listener = await listenTcp(where, resolver, systemClock, silentLogger, bounds);
  t.after(() => listener.close());
  return async () => {
    const socket = connect(listener.port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.on('error', () => {}); // closed by the server: the test sees the end
    await once(socket, 'connect');
    return socket;
  };
}

/** So many questions in the form of TCP. What they ask does not matter to the server. */
function questions(count: number): Buffer {
  const one = Buffer.alloc(2 + 12);
  one.writeUInt16BE(12);
  return Buffer.concat(Array.from({ length: count }, () => one));
}

describe('dns over TCP at its bounds', { timeout: 120_000 }, () => {
  test('a connection beyond the bound is closed at once, and one that ends makes room', async (t) => {
    const open = await serve(t, () => Buffer.alloc(12), { connectionsMax: 20 });
    const sockets: Socket[] = [];
    while (sockets.length < 20) sockets.push(await open());
    const asks = async (socket: Socket): Promise<boolean> => {
      socket.write(questions(1));
      const [what] = await Promise.race([
        once(socket, 'data'),
        once(socket, 'close').then(() => [undefined]),
      ]);
      return what !== undefined;
    };
    assert.equal(await asks(sockets.at(-1) ?? assert.fail()), true, 'the last one within is served');
    assert.equal(await asks(await open()), false);
    sockets[0]?.destroy();
    await eventually(async () => assert.equal(await asks(await open()), true));
  });

  test('no more questions of a connection are under way than the bound; an answer lets the next one in', async (t) => {
    const waiting: ((answer: Buffer) => void)[] = [];
    let asked = 0;
    const open = await serve(t, () => {
      asked += 1;
      return new Promise((answer) => waiting.push(answer));
    });
    const most = serverLimits.pipelinedMax;
    const socket = await open();
    socket.write(questions(most + 10));
    await eventually(() => assert.ok(asked >= most));
    assert.equal(asked, most);
    const answered = once(socket, 'data');
    waiting[0]?.(Buffer.alloc(12));
    await answered;
    assert.equal(asked, most + 1);
    const other = await open();
    other.write(questions(1));
    await eventually(() => assert.equal(asked, most + 2, 'another connection has a bound of its own'));
  });

  test('a client that does not read is not answered further, and gets everything when it reads', async (t) => {
    const answerBytes = 60_000;
    const count = 1500;
    let madeBytes = 0;
    let readBytes = 0;
    let aheadBytesMax = 0;
    const open = await serve(t, () => {
      madeBytes += answerBytes;
      aheadBytesMax = Math.max(aheadBytesMax, madeBytes - readBytes);
      return Buffer.alloc(answerBytes);
    });
    const socket = await open();
    socket.pause();
    socket.write(questions(count));
    await eventually(() => assert.ok(madeBytes > serverLimits.outputBytesMax));
    socket.on('data', (chunk: Buffer) => (readBytes += chunk.length));
    socket.resume();
    await eventually(() => assert.equal(readBytes, count * (2 + answerBytes)));
    // The kernel keeps some MiB of its own in both directions.
    const kernelBytesMax = 32 << 20;
    assert.ok(aheadBytesMax < serverLimits.outputBytesMax + kernelBytesMax, `${aheadBytesMax} bytes`);
  });

  test('a connection on which nothing happens is closed by the server', async (t) => {
    const open = await serve(t, () => Buffer.alloc(12), { idleTimeoutMs: 50 });
    const socket = await open();
    socket.resume();
    await once(socket, 'close');
  });
});
