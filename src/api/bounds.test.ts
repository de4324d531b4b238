import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duplicateElements } from './apply/merge-configuration.ts';
import { parseFieldSet } from './apply/field-set.ts';
import { budgetFor, evaluateWithin, expressionCostMax, requestCostMax } from './cel/bounded.ts';
import { CelError, compileExpression, expressionLengthMax } from './cel/expression.ts';
import { validateStructural } from './custom/structural.ts';
import { compiledPattern, validateBySchema } from './custom/validate.ts';
import { decodeBody } from './decode.ts';
import { duplicateJsonFields, duplicateYamlKeys } from './duplicate-fields.ts';
import { fieldTermsMax, parseFieldSelector } from './field-selector.ts';
import { parseLabelSelector, selectorLengthMax } from './labels.ts';
import type { Json, JsonObject } from './object.ts';
import { annotationBytesMax, validateAnnotations } from './object-meta.ts';
import { applyJsonPatch, jsonPatchOperationsMax } from './patch/json.ts';
import { parseQuantity } from './quantity.ts';
import { checkStructure } from './schema.ts';
import { StatusError } from './status.ts';

/** What readers of clients' texts and objects do at their bounds: one more than the most is refused, or left out. */

function refusal(read: () => unknown): string {
  try {
    read();
    return 'read';
  } catch (error) {
    assert.ok(error instanceof StatusError, String(error));
    return `${error.status.code} ${error.status.message}`;
  }
}

const many = <T>(count: number, make: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => make(at));

test('fieldTermsMax: a field selector with one term more is a bad request', () => {
  const terms = (count: number): string => many(count, () => 'metadata.name!=x').join(',');
  assert.equal(
    refusal(() => parseFieldSelector(terms(fieldTermsMax))),
    'read',
  );
  assert.match(
    refusal(() => parseFieldSelector(terms(fieldTermsMax + 1))),
    /^400 .*at most 64 terms/,
  );
});

test('selectorLengthMax: a label selector that is one character longer is a bad request', () => {
  const text = `a in (${'x,'.repeat(selectorLengthMax / 2 - 4)}x)`;
  assert.equal(
    refusal(() => parseLabelSelector(text.padEnd(selectorLengthMax))),
    'read',
  );
  assert.match(
    refusal(() => parseLabelSelector(text.padEnd(selectorLengthMax + 1))),
    /^400 .*65536 characters/,
  );
});

test('jsonPatchOperationsMax: a patch with one operation more is refused', () => {
  const patch = (count: number): Json => many(count, () => ({ op: 'test', path: '', value: {} }));
  assert.equal(
    refusal(() => applyJsonPatch({}, patch(jsonPatchOperationsMax))),
    'read',
  );
  assert.match(
    refusal(() => applyJsonPatch({}, patch(jsonPatchOperationsMax + 1))),
    /^413 .*allowed maximum operations in a JSON patch is 10000, got 10001/,
  );
});

test('annotationBytesMax: annotations that are one byte larger are an error of metadata', () => {
  const annotations = (bytes: number) => ({ a: 'x'.repeat(bytes - 1) });
  assert.deepEqual(validateAnnotations(annotations(annotationBytesMax), 'metadata.annotations'), []);
  const [error] = validateAnnotations(annotations(annotationBytesMax + 1), 'metadata.annotations');
  assert.equal(error?.message, 'Too long: may not be more than 262144 bytes');
});

test('yamlAliasesMax: a YAML body that multiplies itself is a bad request', async () => {
  const bomb = `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [${'*a,'.repeat(9)}]\nc: &c [${'*b,'.repeat(9)}]\nd: [${'*c,'.repeat(9)}]\n`;
  await assert.rejects(
    decodeBody(Buffer.from(bomb), 'application/yaml'),
    (error) => error instanceof StatusError && error.status.code === 400,
  );
});

test('decodeErrorsMax, duplicatesMax: an object full of mistakes is told of a few', () => {
  const spec = { containers: many(50, () => ({ name: 1 })) };
  assert.equal(checkStructure('core/v1.Pod', { spec }).typeErrors.length, 8);
  const text = `{${many(200, (at) => `"k${at}":1,"k${at}":2`).join(',')}}`;
  assert.equal(duplicateJsonFields(text, JSON.parse(text) as Json).warnings.length, 64);
  const places = many(200, (at) => ({ line: at + 1, offset: 0 }));
  assert.equal(duplicateYamlKeys('a: 1', places).warnings.length, 64);
});

test('exponentMax: a quantity beyond it is none', () => {
  assert.notEqual(parseQuantity('1e100'), undefined);
  assert.equal(parseQuantity('1e101'), undefined);
  assert.equal(parseQuantity(`1e${'9'.repeat(1000)}`), undefined);
});

test('errorsMax: of a custom resource that is wrong everywhere so many errors are told', () => {
  const schema = { type: 'object', additionalProperties: { type: 'integer' } };
  const value = Object.fromEntries(many(500, (at) => [`k${at}`, 'text']));
  assert.equal(validateBySchema(schema, value, '').length, 100);
});

test('patternsMax: patterns beyond it make room and go on working', () => {
  for (const at of many(1_001, (index) => index)) assert.ok(compiledPattern(`^a${at}$`)?.test(`a${at}`));
  assert.ok(compiledPattern('^a0$')?.test('a0'));
});

test('depthMax: a schema that is nested one level deeper is refused', () => {
  const nested = (depth: number): JsonObject =>
    depth === 0 ? { type: 'string' } : { type: 'object', properties: { a: nested(depth - 1) } };
  assert.deepEqual(validateStructural(nested(64), ''), []);
  assert.match(
    validateStructural(nested(65), '')[0]?.message ?? '',
    /must not be nested deeper than 64 levels/,
  );
});

test('setDepthMax: a set of managed fields that is deeper is unreadable', () => {
  const nested = (depth: number): JsonObject => (depth === 0 ? {} : { 'f:a': nested(depth - 1) });
  assert.notEqual(parseFieldSet(nested(200)), undefined);
  assert.equal(parseFieldSet(nested(201)), undefined);
});

test('duplicatesReportedMax: of many lists with elements twice so many are told', () => {
  const port = { containerPort: 80, protocol: 'TCP' };
  const containers = many(20, (at) => ({ name: `c${at}`, ports: [port, port] }));
  assert.equal(duplicateElements('core/v1.Pod', { spec: { containers } }).length, 8);
});

test('expressionLengthMax: an expression that is one character longer is refused', () => {
  assert.notEqual(typeof compileExpression('true'.padEnd(expressionLengthMax)), 'string');
  const problem = compileExpression('true'.padEnd(expressionLengthMax + 1));
  assert.ok(typeof problem === 'string');
  assert.match(problem, /longer than 8192 characters/);
});

test('expressionCostMax, requestCostMax: what costs too much is not run', () => {
  const compiled = compileExpression('self.all(a, self.all(b, self.all(c, true)))');
  assert.ok(typeof compiled !== 'string');
  const self = many(200, String);
  const cheap = budgetFor(self.slice(0, 10));
  assert.equal(evaluateWithin(cheap, compiled, { self: [true] }), true);
  const dear = budgetFor(self);
  assert.ok(compiled.size * dear.longest ** compiled.loopDepth > expressionCostMax);
  assert.throws(() => evaluateWithin(dear, compiled, { self }), CelError);
  const flat = compileExpression('self.all(a, self.all(b, true))');
  assert.ok(typeof flat !== 'string');
  const shared = budgetFor(many(1_000, String));
  const cost = flat.size * shared.longest ** flat.loopDepth;
  assert.ok(cost < expressionCostMax);
  const fits = Math.floor(requestCostMax / cost);
  for (const _ of many(fits, () => 0)) assert.equal(evaluateWithin(shared, flat, { self: ['x'] }), true);
  assert.throws(() => evaluateWithin(shared, flat, { self: ['x'] }), /actual cost limit exceeded/);
});
