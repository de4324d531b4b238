import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillTemplate, templateOf, type VariableSource } from './request-variables.ts';

const source: VariableSource = {
  scheme: 'https',
  host: 'a.example',
  authority: 'a.example:8443',
  method: 'POST',
  target: '/shop/cart?x=1&next=/y',
  clientAddress: '192.0.2.7',
  field: (name) => ({ 'x-team': 'red team', 'user-agent': 'me\u00e9' })[name] ?? '',
  cookie: (name) => (name === 'sid' ? 'abc' : ''),
};

const cases: Readonly<Record<string, string>> = {
  'https://auth.example/check': 'https://auth.example/check',
  '$scheme://$host/oauth2/auth': 'https://a.example/oauth2/auth',
  '${scheme}://${http_host}/': 'https://a.example:8443/',
  '?rd=$escaped_request_uri': '?rd=%2Fshop%2Fcart%3Fx%3D1%26next%3D%2Fy',
  '?rd=$pass_access_scheme://$best_http_host$request_uri': '?rd=https://a.example:8443/shop/cart?x=1&next=/y',
  '$request_method $uri$is_args$args': 'POST /shop/cart?x=1&next=/y',
  $query_string: 'x=1&next=/y',
  '$remote_addr/$http_x_team/$http_User_Agent': '192.0.2.7/red%20team/me%E9',
  '$cookie_sid$cookie_none.$arg_next$arg_nothing': 'abc./y',
};

for (const [text, wanted] of Object.entries(cases)) {
  test(`request variables: ${text}`, () => {
    const template = templateOf(text);
    assert.ok(template !== undefined);
    assert.equal(fillTemplate(template, source), wanted);
  });
}

test('request variables: what a client sends cannot begin a new line', () => {
  const template = templateOf('/$http_x/$cookie_y');
  assert.ok(template !== undefined);
  const evil = { ...source, field: () => 'a\r\nHost: b', cookie: () => ' HTTP/1.1' };
  assert.equal(fillTemplate(template, evil), '/a%0D%0AHost:%20b/%20HTTP/1.1');
});

for (const text of ['$', '$1', '$nothing', '${host', 'a$$host', '$http_', '$arg_']) {
  test(`request variables: ${text} is refused`, () => assert.equal(templateOf(text), undefined));
}
