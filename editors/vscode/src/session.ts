/**
 * One language server: started, listened to, started again when it ends by itself.
 *
 * Nothing that goes wrong here becomes a toast: the status bar says it, the log has the details.
 */
import * as vscode from 'vscode';
import type { Client } from './client.ts';
import { SECTION, serverSettings } from './settings.ts';
import type { StatusBar } from './status_bar.ts';

/** A server that ends this often within the time is not started again by itself. */
const MAX_ENDS = 5;
const ENDS_WITHIN_MS = 180_000;

export class Session implements vscode.Disposable {
  private client: Client | undefined;
  private endsMs: number[] = [];
  /** Starts and stops so far: a start that is no longer the latest order gives up. */
  private nOrders = 0;
  private readonly settingsListener: vscode.Disposable;

  constructor(
    private readonly extension: vscode.Extension<unknown>,
    private readonly log: vscode.LogOutputChannel,
    private readonly statusBar: StatusBar,
  ) {
    this.settingsListener = vscode.workspace.onDidChangeConfiguration(event => {
      if (event.affectsConfiguration(SECTION)) {
        void this.client?.changeSettings(serverSettings(this.extension));
      }
    });
  }

  /** Starts the program, after whatever ran before. */
  async start(command: string): Promise<void> {
    const stopped = this.stop();
    const order = this.nOrders;
    await stopped;
    const { newClient } = await import('./client.ts');
    if (order !== this.nOrders) {
      return;
    }
    this.endsMs = [];
    this.log.info(`starting ${command}`);
    this.statusBar.update({ state: 'starting', reason: '' });
    const client = (this.client = newClient(command, this.log, {
      settings: () => serverSettings(this.extension),
      statusChanged: status => this.statusBar.update(status),
      answered: (document, position, nItems) => this.statusBar.answered(document, position, nItems),
      ended: () => this.serverEnded(),
    }));
    try {
      await client.start();
    } catch (error) {
      this.log.error(`the server did not start: ${String(error)}`);
      if (this.client === client && this.endsMs.length === 0) {
        this.statusBar.update({ state: 'stopped', reason: `${command} did not start: see the log` });
      }
    }
  }

  /** Ends the server, if one runs. */
  async stop(): Promise<void> {
    this.nOrders++;
    const client = this.client;
    this.client = undefined;
    if (client) {
      await client.dispose().catch(error => this.log.warn(`the server did not end well: ${String(error)}`));
    }
  }

  /** A command of the server. Null when it failed or no server runs; the status bar says why. */
  async command<T>(name: string, argument: object): Promise<T | null> {
    return (await this.client?.command<T>(name, argument)) ?? null;
  }

  /** A command whose text grows while it runs; `report` gets all of it so far. */
  async streamed<T>(
    name: string,
    argument: object,
    report: (markdown: string) => void,
    token: vscode.CancellationToken,
  ): Promise<T | null> {
    return (await this.client?.streamed<T>(name, argument, report, token)) ?? null;
  }

  /** A range as the server reads it. */
  toProtocol(range: vscode.Range): { start: object; end: object } | undefined {
    return this.client?.code2ProtocolConverter.asRange(range);
  }

  dispose(): void {
    this.settingsListener.dispose();
    void this.stop();
  }

  /** Whether it is to be started again. */
  private serverEnded(): boolean {
    const nowMs = Date.now();
    this.endsMs = [...this.endsMs, nowMs].filter(endMs => nowMs - endMs < ENDS_WITHIN_MS);
    if (this.endsMs.length < MAX_ENDS) {
      this.statusBar.update({ state: 'starting', reason: '' });
      return true;
    }
    this.statusBar.update({
      state: 'stopped',
      reason: `the server ended ${MAX_ENDS} times in a short while: see the log, and restart it from this menu`,
    });
    return false;
  }
}
