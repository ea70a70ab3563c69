/**
 * Puts together the folder that `vsce package` packs.
 *
 *     node scripts/build.mjs WHEEL OUT        OUT is a new folder
 *
 * The program is bundled; version and settings are those of the server; the wheel of the server, the
 * versions it was tested with, and the licences of what was bundled go along.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const EXTENSION = path.resolve(import.meta.dirname, '..');
const REPOSITORY = path.resolve(EXTENSION, '..', '..');
const [wheel, out] = process.argv.slice(2).map(argument => path.resolve(argument));

execFileSync(path.join(EXTENSION, 'node_modules', '.bin', 'tsc'), ['-p', EXTENSION], { stdio: 'inherit' });
const bundled = await build({
  absWorkingDir: EXTENSION,
  entryPoints: ['src/extension.ts'],
  outfile: path.join(out, 'dist', 'extension.js'),
  bundle: true,
  minify: true,
  metafile: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['vscode'],
});
fs.cpSync(path.join(EXTENSION, 'media'), path.join(out, 'media'), { recursive: true });
fs.copyFileSync(path.join(EXTENSION, 'README.md'), path.join(out, 'README.md'));
fs.copyFileSync(path.join(REPOSITORY, 'LICENSE'), path.join(out, 'LICENSE.txt'));
fs.copyFileSync(path.join(REPOSITORY, 'NOTICE'), path.join(out, 'NOTICE'));
fs.mkdirSync(path.join(out, 'server'));
fs.copyFileSync(wheel, path.join(out, 'server', path.basename(wheel)));
fs.copyFileSync(path.join(REPOSITORY, 'constraints.txt'), path.join(out, 'server', 'constraints.txt'));
fs.writeFileSync(path.join(out, 'package.json'), JSON.stringify(manifest(), null, 2));
fs.writeFileSync(path.join(out, 'THIRD_PARTY_NOTICES.txt'), notices(Object.keys(bundled.metafile.inputs)));

/** package.json with what it shares with the server. */
function manifest() {
  const values = readJson(path.join(EXTENSION, 'package.json'));
  const settings = readJson(path.join(EXTENSION, 'settings.schema.json'));
  Object.assign(values.contributes.configuration.properties, settings.properties);
  const version = path.basename(wheel).split('-')[1];
  for (const key of ['dependencies', 'devDependencies', 'private', 'type']) {
    delete values[key];
  }
  return { ...values, version, files: ['**/*'] };
}

/** The licence texts of the packages that the bundled files come from. */
function notices(files) {
  const roots = new Set(files.map(file => file.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean));
  return [...roots].sort().map(root => {
    const folder = path.join(EXTENSION, root);
    const { name, version, license } = readJson(path.join(folder, 'package.json'));
    const file = fs.readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry));
    if (!file) {
      throw new Error(`${name} has no licence text: it cannot be shipped`);
    }
    return `${name} ${version} (${license})\n\n${fs.readFileSync(path.join(folder, file), 'utf8').trim()}\n`;
  }).join(`\n${'-'.repeat(80)}\n\n`);
}

function readJson(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8'));
}
