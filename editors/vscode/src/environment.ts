/**
 * Makes the server's own Python environment from the wheel that the extension carries.
 *
 * Knows nothing of VS Code. The folder is of use only once its last file, the mark, is there; what
 * is left of an attempt that failed is removed.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { COMPLETE_MARK, findOnPath, scriptOf } from './program.ts';

/** One sentence for the user, with the cure. */
export class SetUpError extends Error {}

export interface Plan {
  /** Where the environment goes. */
  folder: string;
  wheel: string;
  /** pip's constraints: the versions that Starling was tested with. */
  constraints: string;
  /** `starling.pythonPath`, empty when unset. */
  pythonSetting: string;
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
}

export interface Progress {
  step(words: string): void;
  log(line: string): void;
  signal: AbortSignal;
}

const OLDEST_PYTHON = [3, 11] as const;
const PYTHON_NAMES = ['python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3', 'python'];
/** pip asks five times, and waits in between; a machine without a network should be told sooner. */
const PIP_RETRIES = '1';
const TAIL_CHARS = 20_000;

/** Makes the environment; raises SetUpError. Cancelled through the signal, it raises as well. */
export async function makeEnvironment(plan: Plan, progress: Progress): Promise<void> {
  const release = lock(`${plan.folder}.lock`);
  try {
    progress.step('Looking for Python');
    const python = await findPython(plan, progress);
    fs.rmSync(plan.folder, { recursive: true, force: true });
    await fill(python, plan, progress);
  } catch (error) {
    fs.rmSync(plan.folder, { recursive: true, force: true });
    throw error;
  } finally {
    release();
  }
}

async function fill(python: string, plan: Plan, progress: Progress): Promise<void> {
  progress.step('Making a Python environment');
  await mustRun(python, ['-m', 'venv', plan.folder], plan, progress);
  const pip = [
    '-m', 'pip', '--disable-pip-version-check', '--no-input', '--retries', PIP_RETRIES,
    'install', '--progress-bar', 'off', '--constraint', plan.constraints, plan.wheel,
  ];
  progress.step('Installing; compiling llama-cpp-python takes some minutes');
  await mustRun(scriptOf(plan.folder, 'python', plan.platform), pip, plan, progress);
  // The first run compiles what the first suggestion would otherwise wait for.
  progress.step('Trying it out; its inner loops are compiled for this machine');
  const starling = scriptOf(plan.folder, 'starling', plan.platform);
  await mustRun(starling, ['doctor'], plan, progress);
  const mark = path.join(plan.folder, COMPLETE_MARK);
  fs.writeFileSync(`${mark}.new`, JSON.stringify({ wheel: path.basename(plan.wheel), python }));
  fs.renameSync(`${mark}.new`, mark);
}

/** A Python that is new enough; raises SetUpError. */
async function findPython(plan: Plan, progress: Progress): Promise<string> {
  const named = plan.pythonSetting;
  const candidates = named
    ? [named]
    : PYTHON_NAMES.map(name => findOnPath(name, plan.env, plan.platform)).filter(found => found !== undefined);
  const program = `import sys; sys.exit(sys.version_info < (${OLDEST_PYTHON.join(', ')}))`;
  for (const candidate of candidates) {
    const { status } = await run(candidate, ['-c', program], plan, progress);
    if (status === 0) {
      return candidate;
    }
  }
  const wanted = OLDEST_PYTHON.join('.');
  throw new SetUpError(
    named
      ? `The setting starling.pythonPath names ${named}, which is no Python ${wanted} or newer: correct or empty it.`
      : `Starling needs Python ${wanted} or newer, and there is none on PATH: install it, or name one in the setting starling.pythonPath.`,
  );
}

async function mustRun(command: string, args: string[], plan: Plan, progress: Progress): Promise<void> {
  const { status, output } = await run(command, args, plan, progress);
  if (status !== 0) {
    throw new SetUpError(cureOf(output));
  }
}

interface Ended {
  /** Exit status; null when it could not be started or was stopped. */
  status: number | null;
  output: string;
}

function run(command: string, args: string[], plan: Plan, progress: Progress): Promise<Ended> {
  progress.log(`$ ${[command, ...args].join(' ')}`);
  return new Promise((resolve, reject) => {
    let output = '';
    // A group of its own, so that compilers end together with the pip that started them.
    const detached = plan.platform !== 'win32';
    const child = spawn(command, args, { env: plan.env, stdio: ['ignore', 'pipe', 'pipe'], detached });
    const stop = (): void => {
      if (child.pid !== undefined) {
        process.kill(detached ? -child.pid : child.pid, 'SIGTERM');
      }
    };
    if (progress.signal.aborted) {
      stop();
    }
    progress.signal.addEventListener('abort', stop, { once: true });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-TAIL_CHARS);
        text.split('\n').filter(Boolean).forEach(progress.log);
      });
    }
    const end = (status: number | null): void => {
      progress.signal.removeEventListener('abort', stop);
      if (progress.signal.aborted) {
        reject(new SetUpError('The set-up was cancelled.'));
      } else {
        resolve({ status, output });
      }
    };
    child.on('error', error => {
      output += String(error);
      end(null);
    });
    child.on('close', end);
  });
}

/** What pip, venv or the server said, as one sentence that names the cure. The first rule wins. */
export function cureOf(output: string): string {
  const rules: [RegExp, string][] = [
    [/No space left on device|ENOSPC/, 'The disk is full: make room and set Starling up again.'],
    [
      /ensurepip is not available|No module named '?(venv|ensurepip)/,
      "Python's own venv is missing: install it (Debian: apt install python3-venv) and set Starling up again.",
    ],
    [
      /CMAKE_C(XX)?_COMPILER|No CMAKE_\w+ could be found|Could not find (any )?compiler|Microsoft Visual C\+\+ .* is required|unable to find.*compiler/i,
      'llama-cpp-python has to be compiled, and there is no C++ compiler: install one (Debian: apt install g++, macOS: xcode-select --install, Windows: the C++ Build Tools) and set Starling up again.',
    ],
    [
      /NewConnectionError|Failed to establish a new connection|NameResolutionError|name resolution|getaddrinfo|ConnectTimeout|ReadTimeout|Network is unreachable|ProxyError|No matching distribution found/,
      'The Python packages that the server needs could not be downloaded: connect to the network and set Starling up again, or install the server yourself and name it in the setting starling.serverPath.',
    ],
  ];
  const rule = rules.find(([pattern]) => pattern.test(output));
  const last = output.trim().split('\n').at(-1) ?? '';
  return rule ? rule[1] : `The server could not be set up (${last.slice(0, 200)}): the log has more.`;
}

/** One set-up at a time, over all windows; gives back what ends it. */
function lock(file: string): () => void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const holder = fs.existsSync(file) ? Number(fs.readFileSync(file, 'utf8')) : 0;
  if (holder && holder !== process.pid && isAlive(holder)) {
    throw new SetUpError('Another window is setting Starling up: wait for it.');
  }
  fs.writeFileSync(file, String(process.pid));
  return () => fs.rmSync(file, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
