/** The status bar item, and which suggestion the editor shows at this moment. */
import * as vscode from 'vscode';
import { type NoServer, type ServerStatus, viewOf } from './status.ts';

/** The place of a suggestion that the editor was given, in the document as it was then. */
interface Shown {
  uri: string;
  version: number;
  position: vscode.Position;
}

export class StatusBar implements vscode.Disposable {
  current: ServerStatus | NoServer = { state: 'starting', reason: '' };
  private readonly item = vscode.window.createStatusBarItem('starling', vscode.StatusBarAlignment.Right, 100);
  private readonly parts: vscode.Disposable[];
  private shown: Shown | undefined;
  private isReady = false;

  constructor() {
    this.item.name = 'Starling';
    this.item.command = 'starling.showMenu';
    this.parts = [
      this.item,
      vscode.window.onDidChangeTextEditorSelection(event => this.cursorMoved(event)),
      vscode.window.onDidChangeActiveTextEditor(() => this.forget()),
    ];
    this.draw();
    this.item.show();
  }

  /** What the server, or the extension in its place, says. */
  update(status: ServerStatus | NoServer): void {
    this.current = status;
    const isReady = ['ready', 'busy', 'paused', 'off'].includes(status.state);
    if (isReady !== this.isReady) {
      this.isReady = isReady;
      void vscode.commands.executeCommand('setContext', 'starling.ready', isReady);
    }
    this.draw();
  }

  /** The editor was answered: a suggestion stands at this place, or none any more. */
  answered(document: vscode.TextDocument, position: vscode.Position, nItems: number): void {
    this.shown = nItems > 0 ? { uri: document.uri.toString(), version: document.version, position } : undefined;
    this.draw();
  }

  /** One sentence about the state. */
  get sentence(): string {
    return viewOf(this.current, this.shown !== undefined).sentence;
  }

  dispose(): void {
    this.parts.forEach(part => part.dispose());
  }

  /** VS Code hides a suggestion when the cursor leaves it, and tells nobody. */
  private cursorMoved(event: vscode.TextEditorSelectionChangeEvent): void {
    const { document, selection } = event.textEditor;
    const shown = this.shown;
    if (shown?.uri === document.uri.toString() && shown.version === document.version
      && !shown.position.isEqual(selection.active)) {
      this.forget();
    }
  }

  private forget(): void {
    if (this.shown) {
      this.shown = undefined;
      this.draw();
    }
  }

  private draw(): void {
    const view = viewOf(this.current, this.shown !== undefined);
    this.item.text = view.text;
    // As text: the name of a model or project may be spelled like a link or an image.
    const tooltip = new vscode.MarkdownString();
    for (const line of [view.sentence, ...view.facts, 'Click for the menu.']) {
      tooltip.appendText(line).appendMarkdown('\n\n');
    }
    this.item.tooltip = tooltip;
    this.item.accessibilityInformation = { label: ['Starling.', view.sentence, ...view.facts].join(' ') };
    this.item.backgroundColor = view.isProblem ? new vscode.ThemeColor('statusBarItem.warningBackground') : undefined;
  }
}
