import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createLinkRewriter } from './html-links.ts';
import { throughProxy } from './proxied-urls.ts';

const prefix = '/api/v1/namespaces/a/pods/web/proxy';
const origin = { prefix, backendHost: '10.42.0.2:8080', requestHost: 'localhost:8001' };
const through = (url: string): string => throughProxy(url, origin);

function rewrite(html: string, cuts: readonly number[] = []): string {
  const rewriter = createLinkRewriter(through);
  const edges = [0, ...cuts, html.length].toSorted((a, b) => a - b);
  const parts = edges.slice(1).map((edge, at) => rewriter.push(html.slice(edges[at], edge)));
  return parts.join('') + rewriter.end();
}

for (const { name, html, want } of [
  { name: 'a link', html: '<a href="/x?y=1#z">', want: `<a href="${prefix}/x?y=1#z">` },
  { name: 'single quotes, other case', html: "<IMG SRC = '/x'>", want: `<IMG SRC = '${prefix}/x'>` },
  {
    name: 'an address that no client reaches',
    html: '<a href="http://10.42.0.2:8080/x">',
    want: `<a href="${prefix}/x">`,
  },
  { name: 'no quotes', html: '<link href=/x rel=icon>', want: `<link href=${prefix}/x rel=icon>` },
  {
    name: 'several attributes',
    html: '<video poster="/p" src="/v">',
    want: `<video poster="${prefix}/p" src="${prefix}/v">`,
  },
  { name: 'a form and its button', html: '<form action="/f">', want: `<form action="${prefix}/f">` },
  {
    name: 'a script with its text',
    html: `<script src="/s.js">x = '<a href="/no">'</script><a href="/y">`,
    want: `<script src="${prefix}/s.js">x = '<a href="/no">'</script><a href="${prefix}/y">`,
  },
  {
    name: 'a tag in quotes',
    html: '<a title="a > b" href="/x">',
    want: `<a title="a > b" href="${prefix}/x">`,
  },
] as const) {
  test(`html links: ${name} leads through the proxy`, () => assert.equal(rewrite(html), want));
}

for (const html of [
  '<a href="x/y">',
  '<a href="//other.example/x">',
  '<a href="https://example.org/x">',
  `<a href="${prefix}/x">`,
  '<a title="/x" data-href="/y">',
  '<p href="/x">',
  '<!-- <a href="/x"> --><p>',
  '<style>a { background: url("/x") }</style>',
  '<title><a href="/x"></title>',
  '1 < 2 and <3 </a href="/x"> <!doctype html> <?x href="/x"?>',
  '<a href="/x" and never an end',
  '<__proto__ href="/x"><constructor href="/x">',
]) {
  test(`html links: ${html} stays`, () => assert.equal(rewrite(html), html));
}

test('html links: a tag that is too long is passed on as it is', () => {
  const html = `<a title="${'x'.repeat(70_000)}" href="/x"><a href="/y">`;
  assert.ok(rewrite(html).startsWith(html.slice(0, 70_000)));
  const rewriter = createLinkRewriter(through);
  assert.equal(rewriter.push(html.slice(0, 66_000)).length, 66_000, 'and not held back');
});

test('html links: it does not matter where the stream is cut', () => {
  const html = `<p>a<!-- <a href="/1"> -->b<a href="/2">c<script src='/3'>"</scrip"</SCRIPT><img src=/4>d<`;
  const whole = rewrite(html);
  fc.assert(
    fc.property(fc.array(fc.nat(html.length), { maxLength: 6 }), (cuts) => {
      assert.equal(rewrite(html, cuts), whole);
    }),
  );
});
