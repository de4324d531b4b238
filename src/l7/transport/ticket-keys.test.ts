import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TicketKeys, ticketSecret } from './ticket-keys.ts';

const hourMs = 3_600_000;
const startMs = 1000 * 12 * hourMs;
const first = ticketSecret(Buffer.alloc(32, 7), startMs);

test('l7 ticket keys: all who begin with one secret have the same keys at any time', () => {
  const a = new TicketKeys(first);
  const b = new TicketKeys(first);
  for (let hours = 0; hours < 100; hours += 7) {
    const nowMs = startMs + hours * hourMs;
    assert.equal(a.current(nowMs).length, 48);
    if (hours % 3 === 0) assert.deepEqual(b.current(nowMs), a.current(nowMs)); // b looks less often
  }
  const late = new TicketKeys(a.state(startMs + 101 * hourMs));
  assert.deepEqual(late.current(startMs + 101 * hourMs), a.current(startMs + 101 * hourMs));
});

test('l7 ticket keys: they change every twelve hours, not before, and a clock that goes back changes nothing', () => {
  const keys = new TicketKeys(first);
  const before = keys.current(startMs);
  assert.equal(keys.current(startMs + 12 * hourMs - 1), before);
  const after = keys.current(startMs + 12 * hourMs);
  assert.notDeepEqual(after, before);
  assert.equal(keys.current(startMs), after);
});

test('l7 ticket keys: the secret of an epoch does not tell that of the one before', () => {
  const keys = new TicketKeys(first);
  const { epoch, secret } = keys.state(startMs + 12 * hourMs);
  assert.equal(epoch, first.epoch + 1);
  assert.notDeepEqual(Buffer.from(secret), Buffer.from(first.secret));
  assert.ok(!keys.current(startMs + 12 * hourMs).includes(Buffer.from(secret).subarray(0, 16)));
});
