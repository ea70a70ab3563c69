/** What the user can ask for, in the command palette and in the status bar's menu. */
import * as path from 'node:path';
import * as vscode from 'vscode';
import type { Pages } from './pages.ts';
import type { Session } from './session.ts';
import { change, serverSetting } from './settings.ts';
import type { StatusBar } from './status_bar.ts';

export interface Parts {
  session: Session;
  statusBar: StatusBar;
  pages: Pages;
  log: vscode.LogOutputChannel;
  /** Finds and starts the server again. */
  restart(): Promise<void>;
  /** Makes the server's own environment. */
  setUp(): Promise<void>;
}

interface Model {
  name: string;
  path: string;
  kind: 'bundle' | 'gguf';
  sizeBytes: number;
  current: boolean;
}

interface Page {
  markdown: string;
}

const WALKTHROUGH = 'starling.starling#start';
const SAMPLE = `def mean(values):
    """The arithmetic mean of the values."""
    return sum(values) / len(values)


def variance(values):
    """The mean squared distance from the mean."""
    `;

/** Makes the commands known to VS Code. Their titles stand in package.json. */
export function registerCommands(parts: Parts): vscode.Disposable[] {
  const { session, statusBar, log } = parts;
  const commands: Record<string, () => unknown> = {
    'starling.showMenu': () => showMenu(statusBar),
    'starling.explainSelection': () => explain(parts, 'selection'),
    'starling.explainFile': () => explain(parts, 'file'),
    'starling.showMatches': () => showMatches(parts),
    'starling.showModelPrompt': () => showPrompt(parts),
    'starling.toggleSuggestions': () => change<boolean>('enabled', on => !on),
    'starling.toggleLanguage': toggleLanguage,
    'starling.pauseSuggestions': () => pause(session),
    'starling.resumeSuggestions': () => session.command('starling.resume', {}),
    'starling.switchModel': () => switchModel(session),
    'starling.restartServer': parts.restart,
    'starling.setUpServer': parts.setUp,
    'starling.openLog': () => log.show(),
    'starling.openWalkthrough': () =>
      vscode.commands.executeCommand('workbench.action.openWalkthrough', WALKTHROUGH, false),
    'starling.trySample': trySample,
  };
  return Object.entries(commands).map(([id, run]) => vscode.commands.registerCommand(id, () => run()));
}

async function showMenu(statusBar: StatusBar): Promise<void> {
  const { state } = statusBar.current;
  const entry = (icon: string, label: string, command: string) => ({ label: `$(${icon}) ${label}`, command });
  const language = vscode.window.activeTextEditor?.document.languageId;
  const entries = [
    ...(state === 'missing' ? [entry('cloud-download', 'Set up the server…', 'starling.setUpServer')] : []),
    state === 'paused'
      ? entry('debug-start', 'Resume suggestions', 'starling.resumeSuggestions')
      : entry('debug-pause', 'Pause suggestions…', 'starling.pauseSuggestions'),
    entry('circle-slash', serverSetting('enabled', true) ? 'Turn suggestions off' : 'Turn suggestions on', 'starling.toggleSuggestions'),
    ...(language ? [entry('code', `Turn suggestions ${isLanguageOff(language) ? 'on' : 'off'} for ${language}`, 'starling.toggleLanguage')] : []),
    entry('law', 'Show where the last suggestion comes from', 'starling.showMatches'),
    entry('comment-discussion', 'Explain the selection or function', 'starling.explainSelection'),
    entry('package', 'Switch the model…', 'starling.switchModel'),
    entry('eye', 'Show what the model sees here', 'starling.showModelPrompt'),
    entry('debug-restart', 'Restart the server', 'starling.restartServer'),
    entry('output', 'Open the log', 'starling.openLog'),
    entry('book', 'First steps', 'starling.openWalkthrough'),
  ];
  const picked = await vscode.window.showQuickPick(entries, { title: 'Starling', placeHolder: statusBar.sentence });
  if (picked) {
    await vscode.commands.executeCommand(picked.command);
  }
}

async function explain(parts: Parts, what: 'selection' | 'file'): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    return;
  }
  const { document, selection } = editor;
  const range = parts.session.toProtocol(selection);
  const place = what === 'file' ? {} : selection.isEmpty ? { position: range?.start } : { range };
  const lastLine = selection.end.line + (selection.end.character > 0 ? 1 : 0);
  const lines = selection.isEmpty ? '' : `, lines ${selection.start.line + 1} to ${lastLine}`;
  const title = `Explanation of ${path.posix.basename(document.uri.path)}${what === 'file' ? '' : lines}`;
  const write = await parts.pages.openMarkdown(title, '*Reading the code…*');
  let soFar = '';
  const report = (markdown: string): void => write((soFar = markdown));
  const progress = { location: vscode.ProgressLocation.Notification, title: 'Starling explains', cancellable: true };
  await vscode.window.withProgress(progress, async (_, token) => {
    const argument = { textDocument: { uri: document.uri.toString() }, ...place };
    const answer = await parts.session.streamed<Page>('starling.explain', argument, report, token);
    if (answer) {
      write(answer.markdown);
    } else {
      const why = token.isCancellationRequested ? '*Cancelled.*' : `No explanation. ${parts.statusBar.sentence}`;
      write(`${soFar}\n\n${why}`);
    }
  });
}

async function showMatches({ session, pages, statusBar }: Parts): Promise<void> {
  const answer = await session.command<Page>('starling.matches', {});
  await pages.openMarkdown('Matches of the last suggestion', answer?.markdown ?? statusBar.sentence);
}

async function showPrompt({ session, pages, statusBar }: Parts): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) {
    return;
  }
  const range = session.toProtocol(editor.selection);
  const argument = { textDocument: { uri: editor.document.uri.toString() }, position: range?.start };
  const prompt = await session.command<string>('starling.showPrompt', argument);
  await pages.openText('What the model sees', prompt ?? statusBar.sentence);
}

async function pause(session: Session): Promise<void> {
  const choices = [
    { label: '15 minutes', minutes: 15 },
    { label: '1 hour', minutes: 60 },
    { label: 'Until I resume', minutes: undefined },
  ];
  const picked = await vscode.window.showQuickPick(choices, { title: 'Pause suggestions in this window for' });
  if (picked) {
    await session.command('starling.pause', { minutes: picked.minutes });
  }
}

async function toggleLanguage(): Promise<void> {
  const language = vscode.window.activeTextEditor?.document.languageId;
  if (language) {
    await change<string[]>('languagesOff', off =>
      off.includes(language) ? off.filter(id => id !== language) : [...off, language]);
  }
}

function isLanguageOff(language: string): boolean {
  return serverSetting<string[]>('languagesOff', []).includes(language);
}

async function switchModel(session: Session): Promise<void> {
  const models = (await session.command<Model[]>('starling.models', {})) ?? [];
  // The first is the one that is shipped; it moves with each version, so its path is not kept.
  const entries = models.map((model, index) => ({
    label: `$(${model.current ? 'check' : 'package'}) ${model.name}`,
    description: `${(model.sizeBytes / 1e6).toFixed(0)} MB, ${model.kind}${model.current ? ', in use' : ''}`,
    detail: model.path,
    bundlePath: index === 0 ? undefined : model.path,
  }));
  const browse = { label: '$(folder-opened) Browse for a GGUF file…', description: '', detail: '', bundlePath: undefined };
  const picked = await vscode.window.showQuickPick([...entries, browse], { title: 'Model', matchOnDetail: true });
  if (picked === browse) {
    const file = await browseForModel();
    if (file) {
      await change('bundlePath', () => file);
    }
  } else if (picked) {
    await change('bundlePath', () => picked.bundlePath);
  }
}

async function browseForModel(): Promise<string | undefined> {
  const files = await vscode.window.showOpenDialog({
    title: 'A model that fills in the middle',
    openLabel: 'Use this model',
    filters: { GGUF: ['gguf'] },
  });
  return files?.[0]?.fsPath;
}

async function trySample(): Promise<void> {
  const document = await vscode.workspace.openTextDocument({ language: 'python', content: SAMPLE });
  const editor = await vscode.window.showTextDocument(document);
  const end = document.positionAt(SAMPLE.length);
  editor.selection = new vscode.Selection(end, end);
  await vscode.commands.executeCommand('editor.action.inlineSuggest.trigger');
}
