/**
 * Texts of the server beside the code: an explanation, the matches of a suggestion, a prompt.
 *
 * Markdown is shown by VS Code's own preview, which runs nothing and loads nothing from elsewhere.
 */
import * as vscode from 'vscode';

const SCHEME = 'starling';
const MAX_PAGES = 20;

export class Pages implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly texts = new Map<string, string>();
  private readonly parts: vscode.Disposable[];
  private nPages = 0;

  constructor() {
    this.parts = [
      this.changed,
      vscode.workspace.registerTextDocumentContentProvider(SCHEME, this),
    ];
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? '';
  }

  /** Opens a Markdown page beside the code; gives back how to change its text. */
  async openMarkdown(title: string, text: string): Promise<(text: string) => void> {
    const uri = this.newPage(`${title}.md`, text);
    await vscode.commands.executeCommand('markdown.showPreviewToSide', uri);
    return newText => this.write(uri, newText);
  }

  /** Opens plain text beside the code. */
  async openText(title: string, text: string): Promise<void> {
    const document = await vscode.workspace.openTextDocument(this.newPage(`${title}.txt`, text));
    await vscode.window.showTextDocument(document, vscode.ViewColumn.Beside, true);
  }

  dispose(): void {
    this.parts.forEach(part => part.dispose());
  }

  private newPage(name: string, text: string): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${this.nPages++}/${name}` });
    this.texts.set(uri.toString(), text);
    // Not when its document closes: the preview opens it again at its own time.
    for (const oldest of [...this.texts.keys()].slice(0, -MAX_PAGES)) {
      this.texts.delete(oldest);
    }
    return uri;
  }

  private write(uri: vscode.Uri, text: string): void {
    if (this.texts.get(uri.toString()) !== text) {
      this.texts.set(uri.toString(), text);
      this.changed.fire(uri);
    }
  }
}
