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

test('a reason is a sentence', () => {
  assert.equal(viewOf({ ...ready, state: 'error', reason: 'there is no file x' }, false).sentence, 'There is no file x.');
});
