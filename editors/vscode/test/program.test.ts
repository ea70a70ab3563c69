/**
 * Guards where the extension looks for the server. A failure: a user whose `starling` is on PATH is
 * told to install it, or another program than the one they named is started.
 */
import assert from 'node:assert';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { COMPLETE_MARK, findOnPath, findProgram, NOT_INSTALLED, scriptOf } from '../src/program.ts';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'program-'));
process.on('exit', () => fs.rmSync(folder, { recursive: true }));

function program(...parts: string[]): string {
  const file = path.join(folder, ...parts);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, '', { mode: 0o755 });
  return file;
}

const own = path.join(folder, 'own');
const onPath = program('bin', 'starling');
const ownProgram = program('own', 'bin', 'starling');
const bare = { setting: '', env: { PATH: '/nowhere' }, platform: 'linux', ownFolder: own } as const;

test('the setting is first, then PATH, then our own environment', () => {
  const named = program('named', 'starling');
  const env = { PATH: `/nowhere::${path.dirname(onPath)}` };
  fs.writeFileSync(path.join(own, COMPLETE_MARK), '{}');
  assert.deepEqual(findProgram({ ...bare, env, setting: named }), { command: named, origin: 'setting' });
  assert.deepEqual(findProgram({ ...bare, env }), { command: onPath, origin: 'path' });
  assert.deepEqual(findProgram(bare), { command: ownProgram, origin: 'own' });
  fs.rmSync(path.join(own, COMPLETE_MARK));
});

test('a half-made environment is not used', () => {
  assert.deepEqual(findProgram(bare), { problem: NOT_INSTALLED });
});

test('what the user named is not silently replaced', () => {
  const found = findProgram({ ...bare, setting: '~/absent', env: { PATH: path.dirname(onPath), HOME: folder } });
  assert.ok('problem' in found && found.problem.includes(path.join(folder, 'absent')), JSON.stringify(found));
});

test('neither folders nor files without the right to be run are programs', () => {
  fs.mkdirSync(path.join(folder, 'wrong', 'starling'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'data'), '', { mode: 0o644 });
  assert.equal(findOnPath('starling', { PATH: path.join(folder, 'wrong') }, 'linux'), undefined);
  assert.equal(findOnPath('data', { PATH: folder }, 'linux'), undefined);
});

test('Windows has endings and other folders', () => {
  const exe = program('win', 'starling.EXE');
  const env = { Path: `C;${path.dirname(exe)}`, PATHEXT: '.COM;.EXE' };
  assert.equal(findOnPath('starling', env, 'win32'), exe);
  assert.equal(scriptOf('e', 'starling', 'win32'), path.join('e', 'Scripts', 'starling.exe'));
});
