/**
 * The language client of one server, which never opens a dialog.
 *
 * Loaded only when there is a server to start: the library behind it is most of the extension.
 */
import type * as vscode from 'vscode';
import {
  CloseAction,
  ErrorAction,
  ExecuteCommandRequest,
  LanguageClient,
  ProgressType,
  RevealOutputChannelOn,
} from 'vscode-languageclient/node';
import { SECTION } from './settings.ts';
import type { ServerStatus } from './status.ts';

const STATUS_METHOD = 'starling/status';

/** What `$/progress` of an explanation carries. */
interface TextSoFar {
  kind: 'report';
  markdown: string;
}

const EXPLANATION = new ProgressType<TextSoFar>();

/** What the client asks of whoever owns it, and tells them. */
export interface Owner {
  settings(): Record<string, unknown>;
  statusChanged(status: ServerStatus): void;
  /** The editor was given this many suggestions for a place. */
  answered(document: vscode.TextDocument, position: vscode.Position, nItems: number): void;
  /** The server ended by itself. Whether it is to be started again. */
  ended(): boolean;
}

/** Not started yet. */
export function newClient(command: string, log: vscode.LogOutputChannel, owner: Owner): Client {
  const client = new Client(
    SECTION,
    'Starling',
    { command, args: ['serve'] },
    {
      documentSelector: [{ scheme: 'file' }, { scheme: 'untitled' }],
      outputChannel: log,
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      initializationOptions: () => owner.settings(),
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => ({
          action: owner.ended() ? CloseAction.Restart : CloseAction.DoNotRestart,
          handled: true,
        }),
      },
      middleware: {
        provideInlineCompletionItems: async (document, position, context, token, next) => {
          try {
            const answer = await next(document, position, context, token);
            if (!token.isCancellationRequested) {
              const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
              owner.answered(document, position, items.length);
            }
            return answer;
          } catch (error) {
            log.error(`a completion failed: ${String(error)}`);
            return null;
          }
        },
        executeCommand: (name, args) => client.command(name, args[0] ?? {}),
      },
    },
  );
  client.onNotification(STATUS_METHOD, (status: ServerStatus) => owner.statusChanged(status));
  return client;
}

export class Client extends LanguageClient {
  private nTokens = 0;

  /** A command of the server. Null when it failed; the status bar says why. */
  async command<T>(name: string, argument: object, token?: vscode.CancellationToken): Promise<T | null> {
    if (!this.isRunning()) {
      return null;
    }
    try {
      const params = { command: name, arguments: [argument] };
      return (await this.sendRequest(ExecuteCommandRequest.type, params, token)) as T;
    } catch (error) {
      this.error(`${name} failed: ${String(error)}`);
      return null;
    }
  }

  /** A command whose text grows while it runs; `report` gets all of it so far. */
  async streamed<T>(
    name: string,
    argument: object,
    report: (markdown: string) => void,
    token: vscode.CancellationToken,
  ): Promise<T | null> {
    const id = `starling-${this.nTokens++}`;
    const listener = this.onProgress(EXPLANATION, id, value => report(value.markdown));
    try {
      return await this.command<T>(name, { ...argument, token: id }, token);
    } finally {
      listener.dispose();
    }
  }

  async changeSettings(settings: Record<string, unknown>): Promise<void> {
    if (this.isRunning()) {
      await this.sendNotification('workspace/didChangeConfiguration', { settings: { [SECTION]: settings } });
    }
  }

  // The library would show these three as toasts.
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }

  override warn(message: string, data?: unknown): void {
    super.warn(message, data, false);
  }

  override info(message: string, data?: unknown): void {
    super.info(message, data, false);
  }
}
