/** The extension's life: find the server, start it, offer to set it up. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as vscode from 'vscode';
import { registerCommands } from './commands.ts';
import { makeEnvironment, SetUpError } from './environment.ts';
import { Pages } from './pages.ts';
import { findProgram } from './program.ts';
import { Session } from './session.ts';
import { ownSetting, SECTION } from './settings.ts';
import { StatusBar } from './status_bar.ts';

const OFFERED_KEY = 'setUpWasOffered';
const SET_UP = 'Set Up';
const OPEN_LOG = 'Open Log';

let session: Session | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Starling', { log: true });
  const statusBar = new StatusBar();
  const pages = new Pages();
  session = new Session(context.extension, log, statusBar);
  const start = () => startServer(context, session!, statusBar);
  const setUp = () => setUpServer(context, log, statusBar, start);
  context.subscriptions.push(
    log,
    statusBar,
    pages,
    session,
    ...registerCommands({ session, statusBar, pages, log, restart: start, setUp }),
    vscode.workspace.onDidChangeConfiguration(event => {
      if (event.affectsConfiguration(`${SECTION}.serverPath`)) {
        void start();
      }
    }),
  );
  // After the activation, which other extensions wait for.
  setImmediate(() => void start().then(() => offerSetUp(context, statusBar)));
}

export async function deactivate(): Promise<void> {
  await session?.stop();
}

async function startServer(context: vscode.ExtensionContext, session: Session, statusBar: StatusBar): Promise<void> {
  const found = findProgram({
    setting: ownSetting('serverPath'),
    env: process.env,
    platform: process.platform,
    ownFolder: environmentFolder(context),
  });
  if ('command' in found) {
    await session.start(found.command);
  } else {
    await session.stop();
    statusBar.update({ state: 'missing', reason: found.problem });
  }
}

/** Once on a machine; afterwards the status bar is reminder enough. */
async function offerSetUp(context: vscode.ExtensionContext, statusBar: StatusBar): Promise<void> {
  if (statusBar.current.state !== 'missing' || ownSetting('serverPath') || context.globalState.get(OFFERED_KEY)) {
    return;
  }
  await context.globalState.update(OFFERED_KEY, true);
  const question =
    "Starling's server is not on this machine yet. Set it up now? The model comes with the extension; "
    + 'Python packages are downloaded, and llama-cpp-python is compiled, which takes some minutes.';
  if ((await vscode.window.showInformationMessage(question, SET_UP, 'Later')) === SET_UP) {
    await vscode.commands.executeCommand('starling.setUpServer');
  }
}

async function setUpServer(
  context: vscode.ExtensionContext,
  log: vscode.LogOutputChannel,
  statusBar: StatusBar,
  start: () => Promise<void>,
): Promise<void> {
  const options = { location: vscode.ProgressLocation.Notification, title: 'Starling', cancellable: true };
  try {
    await vscode.window.withProgress(options, async (progress, token) => {
      const stop = new AbortController();
      token.onCancellationRequested(() => stop.abort());
      await session?.stop();
      await makeEnvironment(planOf(context), {
        step: words => {
          progress.report({ message: words });
          statusBar.update({ state: 'settingUp', reason: words });
        },
        log: line => log.info(line),
        signal: stop.signal,
      });
    });
  } catch (error) {
    const sentence = error instanceof SetUpError ? error.message : `The set-up failed: ${String(error)}`;
    log.error(sentence);
    await start();
    if (statusBar.current.state === 'missing') {
      statusBar.update({ state: 'missing', reason: sentence });
    }
    if ((await vscode.window.showErrorMessage(sentence, OPEN_LOG)) === OPEN_LOG) {
      log.show();
    }
    return;
  }
  await start();
  removeOldEnvironments(context, log);
}

function planOf(context: vscode.ExtensionContext) {
  const server = context.asAbsolutePath('server');
  const wheel = fs.readdirSync(server).find(name => name.endsWith('.whl'));
  if (!wheel) {
    throw new SetUpError('This build of the extension has no server in it: install the server yourself and name it in the setting starling.serverPath.');
  }
  return {
    folder: environmentFolder(context),
    wheel: path.join(server, wheel),
    constraints: path.join(server, 'constraints.txt'),
    pythonSetting: ownSetting('pythonPath'),
    env: process.env,
    platform: process.platform,
  };
}

/** One folder for each version, so that an update never changes a server that runs. */
function environmentFolder(context: vscode.ExtensionContext): string {
  return path.join(context.globalStorageUri.fsPath, `server-${context.extension.packageJSON.version}`);
}

function removeOldEnvironments(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): void {
  const storage = context.globalStorageUri.fsPath;
  const current = path.basename(environmentFolder(context));
  const old = fs.readdirSync(storage).filter(name => name.startsWith('server-') && name !== current);
  for (const folder of old.map(name => path.join(storage, name))) {
    fs.rm(folder, { recursive: true, force: true }, error => error && log.warn(`${folder} remains: ${error.message}`));
  }
}
