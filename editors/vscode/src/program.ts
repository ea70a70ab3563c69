/**
 * Where the language server is: the user's setting, `starling` on PATH, or our own environment.
 *
 * Knows nothing of VS Code, so that it is tested without one.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';

/** A program that can be started, or a sentence why there is none. */
export type Found = { command: string; origin: 'setting' | 'path' | 'own' } | { problem: string };

export interface Places {
  /** `starling.serverPath`, empty when unset. */
  setting: string;
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  /** The folder of our own environment, which may not exist. */
  ownFolder: string;
}

/** Written last into our own environment: without it the folder is half-made and not used. */
export const COMPLETE_MARK = 'complete.json';

export const NOT_INSTALLED = 'the server is not installed: set it up from this menu';

/** The first place that has the server. What the user named is never silently replaced. */
export function findProgram(places: Places): Found {
  if (places.setting) {
    const command = withoutTilde(places.setting, places.env);
    if (isProgram(command)) {
      return { command, origin: 'setting' };
    }
    return { problem: `the setting starling.serverPath names ${command}, which is no program: correct or empty it` };
  }
  const onPath = findOnPath('starling', places.env, places.platform);
  if (onPath) {
    return { command: onPath, origin: 'path' };
  }
  if (fs.existsSync(path.join(places.ownFolder, COMPLETE_MARK))) {
    return { command: scriptOf(places.ownFolder, 'starling', places.platform), origin: 'own' };
  }
  return { problem: NOT_INSTALLED };
}

/** The program of this name in the first folder of PATH that has it. */
export function findOnPath(name: string, env: NodeJS.ProcessEnv, platform: NodeJS.Platform): string | undefined {
  const windows = platform === 'win32';
  const endings = windows ? (env.PATHEXT ?? '.EXE;.CMD;.BAT').split(';') : [''];
  for (const folder of (env.PATH ?? env.Path ?? '').split(windows ? ';' : ':')) {
    for (const ending of folder ? endings : []) {
      const file = path.join(folder, name + ending);
      if (isProgram(file)) {
        return file;
      }
    }
  }
  return undefined;
}

/** A program inside a virtual environment. */
export function scriptOf(environment: string, name: string, platform: NodeJS.Platform): string {
  return platform === 'win32'
    ? path.join(environment, 'Scripts', `${name}.exe`)
    : path.join(environment, 'bin', name);
}

function isProgram(file: string): boolean {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

function withoutTilde(file: string, env: NodeJS.ProcessEnv): string {
  const home = env.HOME ?? env.USERPROFILE ?? '';
  return file.startsWith('~/') && home ? path.join(home, file.slice(2)) : file;
}
