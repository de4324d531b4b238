import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apr1, parsePasswordFile, passwordFits } from './password-hash.ts';

test('l7 passwords: apr1 as openssl writes it', () => {
  assert.equal(apr1('secret', 'abcdefgh'), '$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/');
  const long = 'a much longer password than sixteen bytes ü';
  assert.equal(apr1(long, 'x'), '$apr1$x$v3KxS.T9VTUMJOxzYE1zR0');
  assert.equal(passwordFits(long, '$apr1$x$v3KxS.T9VTUMJOxzYE1zR0'), true);
  assert.equal(passwordFits('secret', '$apr1$x$v3KxS.T9VTUMJOxzYE1zR0'), false);
});

test('l7 passwords: a file names its users; hashes of other kinds are told', () => {
  const { users, unknown } = parsePasswordFile(
    'ann:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n# note\n\nold:XXXXXXXXXXXXX\nno colon\nb:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n',
  );
  assert.deepEqual([...users.keys()], ['ann', 'b']);
  assert.deepEqual(unknown, ['old', 'no colon']);
  assert.equal(passwordFits('password', users.get('b') ?? ''), true);
});
