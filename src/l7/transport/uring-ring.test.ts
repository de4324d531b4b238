import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { openUring } from '../../../test/support/uring.ts';
import { openKernel } from './uring-kernel.ts';
import { KIND_CLOSE, missingFeature, Ring } from './uring-ring.ts';

const refused = openUring();
const options = { skip: typeof refused === 'string' ? refused : false };

test('more requests than the submission queue holds are all made, in their order', options, () => {
  const ring = new Ring(openKernel(), { submissions: 8, completions: 1024 });
  for (let fd = -1000; fd < 0; fd += 1) ring.close(fd); // no such descriptors: each completes, as a failure
  ring.enter(0);
  const kinds: number[] = [];
  const count = ring.reap((_, kind, result) => {
    kinds.push(kind);
    assert.equal(result, -constants.errno.EBADF);
  });
  assert.equal(count, 1000);
  assert.ok(kinds.every((kind) => kind === KIND_CLOSE));
  ring.end();
});

test(
  'completions beyond their queue are kept: nothing counts as gone until they have been told',
  options,
  () => {
    const ring = new Ring(openKernel(), { submissions: 256, completions: 256 });
    for (let fd = -1000; fd < 0; fd += 1) ring.close(fd);
    ring.enter(0);
    assert.equal(ring.tellsAll, false);
    let told = 0;
    for (let looks = 0; !ring.tellsAll; looks += 1) {
      assert.ok(looks < 100, `${told} of 1000 told`);
      told += ring.reap(() => {});
      ring.enter(0);
    }
    told += ring.reap(() => {});
    assert.equal(told, 1000);
    ring.end();
  },
);

test('a kernel whose io_uring lacks what the ring relies on is refused by the name of it', () => {
  const all = 0xfff;
  assert.equal(missingFeature(all), undefined);
  assert.equal(missingFeature(all & ~(1 << 1)), 'IORING_FEAT_NODROP');
  assert.equal(missingFeature(all & ~(1 << 11)), 'IORING_FEAT_CQE_SKIP');
  assert.equal(missingFeature(0), 'IORING_FEAT_SINGLE_MMAP');
});
