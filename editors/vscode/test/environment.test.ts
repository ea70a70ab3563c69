/**
 * Guards the set-up of the server's environment where it goes wrong. A failure: a user reads pip's
 * output instead of a cure, or a half-made environment is taken for a whole one.
 */
import assert from 'node:assert';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { cureOf, makeEnvironment, type Plan, SetUpError } from '../src/environment.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'environment-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true }));

function plan(more: Partial<Plan>): Plan {
  const constraints = path.join(folder, 'constraints.txt');
  fs.writeFileSync(constraints, '');
  return {
    folder: path.join(folder, 'server'),
    wheel: 'starling',
    constraints,
    pythonSetting: '',
    env: { ...process.env, PIP_NO_INDEX: '1', PIP_FIND_LINKS: folder },
    platform: process.platform,
    ...more,
  };
}

function progress(signal = new AbortController().signal) {
  const steps: string[] = [];
  return { steps, signal, step: (words: string) => void steps.push(words), log: () => undefined };
}

test('without the packages the user is told of the network, and nothing is left', async () => {
  const seen = progress();
  await assert.rejects(makeEnvironment(plan({}), seen), (error: Error) =>
    error instanceof SetUpError && error.message.includes('connect to the network'));
  assert.deepEqual(seen.steps.length, 3);
  assert.deepEqual(fs.readdirSync(folder), ['constraints.txt']);
});

test('without a Python the user is told which one', async () => {
  await assert.rejects(makeEnvironment(plan({ env: { PATH: '/nowhere' } }), progress()), /needs Python 3\.11 or newer/);
  await assert.rejects(makeEnvironment(plan({ pythonSetting: '/nowhere/python' }), progress()), /pythonPath names \/nowhere\/python/);
});

test('a cancelled set-up leaves nothing', async () => {
  const stop = new AbortController();
  const seen = { ...progress(stop.signal), step: (words: string) => words.startsWith('Making') && stop.abort() };
  await assert.rejects(makeEnvironment(plan({}), seen), /cancelled/);
  assert.deepEqual(fs.readdirSync(folder), ['constraints.txt']);
});

test('a second window waits', async () => {
  const lock = path.join(folder, 'server.lock');
  fs.writeFileSync(lock, String(process.ppid));
  await assert.rejects(makeEnvironment(plan({}), progress()), /Another window/);
  fs.rmSync(lock);
});

test('what programs say becomes a cure', () => {
  const cases: [string, RegExp][] = [
    ['CMake Error: CMAKE_C_COMPILER not set, after EnableLanguage\nERROR: Failed building wheel', /apt install g\+\+/],
    ['error: Microsoft Visual C++ 14.0 or greater is required.', /C\+\+ Build Tools/],
    ['The virtual environment was not created successfully because ensurepip is not available.', /python3-venv/],
    ['ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device', /disk is full/],
    ["NewConnectionError('<...>: Failed to establish a new connection: [Errno -2] Name or service not known')", /network/],
    ['something else\nERROR: odd', /ERROR: odd.*the log has more/],
  ];
  for (const [output, cure] of cases) {
    assert.match(cureOf(output), cure);
  }
});
