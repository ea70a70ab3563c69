/** Guards the words of the status bar. A failure: a user cannot tell a copy from other suggestions. */
import assert from 'node:assert';
import { test } from 'node:test';
import { type ServerStatus, viewOf } from '../src/status.ts';

const ready: ServerStatus = { state: 'ready', reason: '', model: 'm', verdict: 'copy', source: 'click 8.5.1, BSD-3-Clause' };

test('a copy is named with its licence while it is shown, and only then', () => {
  assert.equal(viewOf(ready, true).text, '$(law) Starling: copy of click 8.5.1, BSD-3-Clause');
  assert.equal(viewOf(ready, false).text, '$(sparkle) Starling');
});

test('every verdict and state has words of its own', () => {
  const verdicts = (['copy', 'common', 'none', 'unknown'] as const).map(verdict => viewOf({ ...ready, verdict }, true));
  const states = (['starting', 'settingUp', 'missing', 'stopped'] as const).map(state => viewOf({ state, reason: 'why' }, false));
  const server = (['loading', 'paused', 'off', 'error'] as const).map(state => viewOf({ ...ready, state }, true));
  const all = [...verdicts, ...states, ...server];
  assert.equal(new Set(all.map(view => view.text.replace(/\$\(.*?\) /, ''))).size, all.length);
  assert.ok(all.every(view => /^[A-Z].*\.$/.test(view.sentence)), JSON.stringify(all.map(view => view.sentence)));
});

test('what the server measures is told, as far as it is known', () => {
  const factsOf = (figures: Partial<ServerStatus>) => viewOf({ ...ready, ...figures }, false).facts;
  const measured = factsOf({ tokensPerSecond: 611.4, hitRate: 0.254, workspaceTokens: 200000 });
  assert.deepEqual(measured, [
    'Model: m',
    'Speed: 611 tokens a second',
    'Answered without computing: 25 %',
    'Words of the workspace: 200,000 tokens',
  ]);
  // Files that are still being read, and models that make no use of them.
  assert.deepEqual(factsOf({ workspaceTokens: null, hitRate: 0 }), ['Model: m', 'Answered without computing: 0 %']);
  assert.deepEqual(factsOf({ workspaceTokens: 0 }), ['Model: m']);
});

test('a reason is a sentence', () => {
  assert.equal(viewOf({ ...ready, state: 'error', reason: 'there is no file x' }, false).sentence, 'There is no file x.');
});
