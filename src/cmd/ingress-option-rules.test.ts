import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ingressCommand } from './ingress.ts';
import { checkOptions } from './ingress-option-rules.ts';

/** What is said to these arguments; undefined: nothing. */
function refusal(args: readonly string[]): string | undefined {
  const command = ingressCommand();
  command.action(() => {}).parse(args, { from: 'user' });
  try {
    checkOptions(command);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const cases: readonly (readonly [args: string, told: RegExp | undefined])[] = [
  ['', undefined],
  [
    '--lease a/b --publish-service a/b --ingress-class x --create-ingress-class --nginx-annotations',
    undefined,
  ],
  ['--config f', undefined],
  ['--config f --kubeconfig k', /nothing for --kubeconfig:/],
  ['--config f --lease a/b', /nothing for --lease:/],
  ['--config f --publish-service a/b', /nothing for --publish-service:/],
  ['--config f --ingress-class x', /nothing for --ingress-class:/],
  ['--config f --controller-name x', /nothing for --controller-name:/],
  ['--config f --create-ingress-class', /nothing for --create-ingress-class:/],
  ['--config f --nginx-annotations', /nothing for --nginx-annotations:/],
  ['--config f --nginx-annotations --lease a/b', /nothing for --lease, --nginx-annotations:/],
  ['--nginx-allowed-headers X-A', /add --nginx-annotations/],
  ['--nginx-allowed-headers X-A --nginx-annotations', undefined],
  ['--config f --nginx-allowed-headers X-A', /nothing for --nginx-allowed-headers:/],
  ['--proxy-protocol', /add --trusted-proxies/],
  ['--proxy-protocol --trusted-proxies 10.0.0.0/8', undefined],
  ['--access-log-sample 0.5', /add --access-log\.$/],
  ['--access-log-sample 0.5 --access-log', undefined],
];

for (const [args, told] of cases) {
  const how = told === undefined ? 'is accepted' : 'is refused, for something in it would do nothing';
  test(`fairlead ingress ${args} ${how}`, () => {
    const text = refusal(args === '' ? [] : args.split(' '));
    if (told === undefined) assert.equal(text, undefined);
    else assert.match(text ?? '', told);
  });
}
