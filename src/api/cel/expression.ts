import { createRequire } from 'node:module';
import type * as Cel from '@marcbachmann/cel-js';
import {
  authorizerFunctions,
  authorizerType,
  authorizerTypes,
  CelAuthorizer,
  resourceCheckType,
} from './authorizer.ts';
import { CelJsonPatch, CelSets, libraryFunctions, libraryTypes } from './library.ts';
import { structsAsMaps } from './structs.ts';

/** The one place that knows which evaluator of the Common Expression Language we use. */

/** Which names an expression may use, and what they are. */
export type ExpressionScope = {
  /** Scopes with the same key have the same variables, and share one environment. */
  readonly key: string;
  readonly variables: Readonly<Record<string, VariableType>>;
  /** It may build messages, `Object.spec{…}`: a mutation. */
  readonly structs?: true;
};

export type VariableType = 'dyn' | 'optional<dyn>' | 'authorizer';

/** Rules of CustomResourceDefinitions. */
export const ruleScope: ExpressionScope = { key: 'rule', variables: { self: 'dyn', oldSelf: 'dyn' } };

/** Rules that are asked on creation too, where there is no old value. */
export const optionalRuleScope: ExpressionScope = {
  key: 'optional rule',
  variables: { self: 'dyn', oldSelf: 'optional<dyn>' },
};

/** Webhooks' conditions and admission policies: what of the request they see beside the objects. */
export function admissionScope(seen: {
  readonly authorizer?: boolean;
  readonly params?: boolean;
  readonly variables?: boolean;
  readonly namespaceObject?: boolean;
}): ExpressionScope {
  const names = ['object', 'oldObject', 'request', ...Object.keys(seen)].filter(
    (name) => seen[name as keyof typeof seen] !== false,
  );
  const variables = Object.fromEntries(
    names.map((name): [string, VariableType] => [name, name === 'authorizer' ? 'authorizer' : 'dyn']),
  );
  return { key: names.join(' '), variables };
}

export type Expression = {
  /** The value of the expression; throws CelError when it has none. */
  evaluate(variables: Readonly<Record<string, unknown>>): unknown;
  readonly usesOldSelf: boolean;
  /** What it gives, as far as that is known before it runs; else `dyn`. */
  readonly type: string;
  /** How deep `all`, `exists`, `map` and the like are nested: the work grows with the size of the data to this power. */
  readonly loopDepth: number;
  /** It makes lists out of texts, over which loops can run. */
  readonly splitsTexts: boolean;
  /** Length of the text, a measure of the work of one pass. */
  readonly size: number;
};

export class CelError extends Error {
  override readonly name = 'CelError';
}

/** Longest expression, characters. */
export const expressionLengthMax = 8192;
const loops = /\.(?:all|exists|exists_one|existsOne|map|filter|transformList|transformMap)\s*\(/g;

const environments = new Map<string, Cel.Environment>();

/** Loaded with the first expression: most clusters have none, and it costs memory and start-up time. */
function environmentOf(scope: ExpressionScope): Cel.Environment {
  const known = environments.get(scope.key);
  if (known !== undefined) return known;
  const environment = newEnvironment(scope);
  environments.set(scope.key, environment);
  return environment;
}

/** Knows the libraries and the variables of the scope. */
export function newEnvironment(scope: ExpressionScope): Cel.Environment {
  const require = createRequire(import.meta.url);
  const { Environment } = require('@marcbachmann/cel-js') as typeof Cel;
  const environment = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    enableOptionalTypes: true,
  });
  for (const [name, ctor] of Object.entries(libraryTypes))
    environment.registerType(name, { ctor, fields: {} });
  for (const [signature, handler] of libraryFunctions) environment.registerFunction(signature, handler);
  environment.registerConstant('sets', 'kubernetes.Sets', new CelSets());
  environment.registerConstant('jsonpatch', 'kubernetes.JSONPatch', new CelJsonPatch());
  if (Object.values(scope.variables).includes('authorizer')) registerAuthorizer(environment);
  for (const [name, type] of Object.entries(scope.variables)) {
    environment.registerVariable(name, type === 'authorizer' ? authorizerType : type);
  }
  return environment;
}

/** A value that may be missing, as expressions see it: `oldSelf.hasValue()`. */
export function celOptional(value: unknown): unknown {
  const require = createRequire(import.meta.url);
  const { Optional } = require('@marcbachmann/cel-js') as typeof Cel;
  return value === undefined ? Optional.none() : Optional.of(value);
}

function registerAuthorizer(environment: Cel.Environment): void {
  for (const [name, ctor] of Object.entries(authorizerTypes)) {
    environment.registerType(name, { ctor, fields: {} });
  }
  environment.registerType(authorizerType, {
    ctor: CelAuthorizer,
    fields: { requestResource: resourceCheckType },
  });
  for (const [signature, handler] of authorizerFunctions) environment.registerFunction(signature, handler);
}

/** Compiles; a text says what is wrong with the expression. */
export function compileExpression(text: string, scope: ExpressionScope = ruleScope): Expression | string {
  if (text.length > expressionLengthMax) return `must not be longer than ${expressionLengthMax} characters`;
  try {
    const { text: plain, problem } =
      scope.structs === true ? structsAsMaps(text) : { text, problem: undefined };
    if (problem !== undefined) return problem;
    const program = environmentOf(scope).parse(plain);
    const checked = program.check();
    if (!checked.valid) {
      return (checked.error?.message ?? 'the expression does not type-check').split('\n')[0] ?? '';
    }
    return {
      evaluate(variables) {
        try {
          return program(variables);
        } catch (cause) {
          throw new CelError(cause instanceof Error ? cause.message : String(cause), { cause });
        }
      },
      usesOldSelf: /\boldSelf\b/.test(withoutTexts(text)),
      type: checked.type ?? 'dyn',
      loopDepth: loopDepthOf(withoutTexts(text)),
      splitsTexts: /\.(?:split|findAll)\s*\(/.test(withoutTexts(text)),
      size: text.length,
    };
  } catch (error) {
    return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  }
}

/** Where in the text and what: as cel-go lays it out, which is what users of Kubernetes know. */
export function celProblem(
  text: string,
  error: { readonly summary?: string; readonly range?: Cel.SourceRange | undefined },
): string {
  const summary = error.summary ?? 'the expression does not type-check';
  const start = error.range?.start ?? 0;
  const before = text.slice(0, start).split('\n');
  const column = before.at(-1)?.length ?? 0;
  const line = text.split('\n')[before.length - 1] ?? '';
  const missing = /^No such key: (.*)$/.exec(summary)?.[1];
  const what = missing === undefined ? summary : `undefined field '${missing}'`;
  return `ERROR: <input>:${before.length}:${column + 1}: ${what}\n | ${line}\n | ${'.'.repeat(column)}^`;
}

function withoutTexts(text: string): string {
  return text.replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, '""');
}

/** How many loops are open at once at most: each opens a parenthesis, and is over where that is closed. */
function loopDepthOf(text: string): number {
  const starts = new Set<number>();
  for (const found of text.matchAll(loops)) starts.add(found.index + found[0].length - 1);
  const open: boolean[] = [];
  let depth = 0;
  let deepest = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') {
      const isLoop = starts.has(at);
      open.push(isLoop);
      if (isLoop) deepest = Math.max(deepest, ++depth);
    } else if (text[at] === ')' && open.pop() === true) depth--;
  }
  return deepest;
}
