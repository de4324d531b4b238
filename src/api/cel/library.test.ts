import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AccessCheck, CelAuthorizer } from './authorizer.ts';
import { admissionScope, compileExpression } from './expression.ts';

const scope = admissionScope({ authorizer: true });

function access(user: string): AccessCheck {
  return {
    allows: (question) =>
      question.kind === 'path'
        ? user === 'ann' && question.path === '/metrics'
        : `${user} ${question.verb} ${question.group}/${question.plural}/${question.subresource} ${question.namespace}/${question.name}` in
          allowed,
    ofServiceAccount: (namespace, name) => access(`${namespace}:${name}`),
  };
}

const allowed: Readonly<Record<string, true>> = {
  'ann get apps/deployments/scale shop/web': true,
  'ann delete /pods/ shop/web-1': true,
  'shop:robot list /secrets/ /': true,
};

const own = { group: '', plural: 'pods', subresource: '', namespace: 'shop', name: 'web-1' };

function evaluate(text: string): unknown {
  const expression = compileExpression(text, scope);
  if (typeof expression === 'string') return expression;
  return expression.evaluate({
    object: { cpu: '1500m', ip: '10.1.2.3', list: [3n, 1n, 2n], text: 'a-b-c' },
    oldObject: null,
    request: {},
    authorizer: new CelAuthorizer(access('ann'), own),
  });
}

const cases: readonly (readonly [text: string, want: unknown])[] = [
  ['quantity(object.cpu).isGreaterThan(quantity("1"))', true],
  ['quantity("1Gi").compareTo(quantity("1024Mi"))', 0n],
  ['quantity("2").add(quantity("500m")).asApproximateFloat()', 2.5],
  ['quantity("2").sub(1).asInteger()', 1n],
  ['isQuantity("ten")', false],
  ['quantity("-1").sign()', -1n],
  ['cidr("10.0.0.0/8").containsIP(object.ip)', true],
  ['cidr("10.0.0.0/8").containsCIDR("10.1.0.0/16")', true],
  ['cidr("10.0.0.0/8").containsIP(ip("11.0.0.1"))', false],
  ['ip("::1").family() == 6 && ip("::1").isLoopback()', true],
  ['ip("192.168.0.1").isGlobalUnicast()', true],
  ['isIP("1.2.3")', false],
  ['string(cidr("10.1.2.3/8").ip())', '10.1.2.3'],
  ['url("https://example.com:8443/a?b=c").getPort()', '8443'],
  ['url("https://example.com/a?b=c&b=d").getQuery()["b"].size()', 2n],
  ['isURL("../a")', false],
  ['object.text.find("[a-c]-")', 'a-'],
  ['object.text.findAll("[a-z]").size()', 3n],
  ['object.text.findAll("[a-z]", 2).size()', 2n],
  ['object.text.replace("-", "+")', 'a+b+c'],
  ['object.text.replace("-", "+", 1)', 'a+b-c'],
  ['object.text.charAt(2)', 'b'],
  ['object.list.isSorted()', false],
  ['object.list.sum() == 6', true],
  ['object.list.min() == 1 && object.list.max() == 3', true],
  ['object.list.indexOf(2)', 2n],
  ['sets.contains(object.list, [1, 2])', true],
  ['sets.intersects(object.list, [9])', false],
  ['sets.equivalent(object.list, [1, 2, 3, 3])', true],
  ['authorizer.path("/metrics").check("get").allowed()', true],
  ['authorizer.path("/logs").check("get").allowed()', false],
  [
    'authorizer.group("apps").resource("deployments").subresource("scale").namespace("shop").name("web").check("get").allowed()',
    true,
  ],
  ['authorizer.requestResource.check("delete").allowed()', true],
  ['authorizer.requestResource.check("get").allowed()', false],
  ['authorizer.serviceAccount("shop", "robot").group("").resource("secrets").check("list").allowed()', true],
  ['nothing.here', 'Unknown variable: nothing'],
];

for (const [text, want] of cases) {
  test(`expressions: ${text}`, () => assert.deepEqual(evaluate(text), want));
}
