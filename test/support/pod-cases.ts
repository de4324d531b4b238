import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podKind } from '../../src/api/kinds/pod.ts';
import type { JsonObject } from '../../src/api/object.ts';

/** A new Pod with one container, and what Kubernetes says against it. */
export type PodCase = {
  readonly name: string;
  readonly spec: JsonObject;
  readonly container?: JsonObject;
  readonly want: readonly string[];
};

/** One test a row: the Pod gets its defaults and is validated as on a create. */
export function podCases(subject: string, cases: readonly PodCase[]): void {
  for (const { name, spec, container = {}, want } of cases) {
    test(`pod, ${subject}: ${name}`, () => {
      const pod: JsonObject = {
        metadata: { name: 'p', namespace: 'default' },
        spec: {
          containers: [{ name: 'a', image: 'x', ...structuredClone(container) }],
          ...structuredClone(spec),
        },
      };
      podKind.setDefaults?.(pod);
      podKind.prepareForCreate?.(pod);
      const errors = podKind.validate?.(pod) ?? [];
      assert.deepEqual(
        errors.map((error) => `${error.field}: ${error.message}`),
        want,
      );
    });
  }
}
