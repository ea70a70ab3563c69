/** The user's settings: those that are the extension's own, and those that go to the server. */
import * as vscode from 'vscode';

export const SECTION = 'starling';

/** What only the extension reads; every other setting is the server's. */
const OWN_KEYS = new Set(['serverPath', 'pythonPath']);

let lastChange: Promise<void> = Promise.resolve();

/** A setting of the extension's own. */
export function ownSetting(key: 'serverPath' | 'pythonPath'): string {
  return vscode.workspace.getConfiguration(SECTION).get<string>(key, '').trim();
}

/** What the user changed, for the server, which knows the defaults itself. */
export function serverSettings(extension: vscode.Extension<unknown>): Record<string, unknown> {
  const configuration = vscode.workspace.getConfiguration(SECTION);
  const changed: Record<string, unknown> = {};
  const properties: string[] = Object.keys(extension.packageJSON.contributes.configuration.properties);
  for (const key of properties.map(property => property.slice(SECTION.length + 1))) {
    const value = configuration.get(key);
    const isDefault = JSON.stringify(value) === JSON.stringify(configuration.inspect(key)?.defaultValue);
    if (!OWN_KEYS.has(key) && !isDefault) {
      changed[key] = value;
    }
  }
  return changed;
}

/** Changes a setting of the server for the user, from its present value; `undefined` is the default. */
export function change<T>(key: string, edit: (present: T) => T | undefined): Promise<void> {
  // One after the other: a value is read once the change before it is written.
  const changed = lastChange.then(() => {
    const configuration = vscode.workspace.getConfiguration(SECTION);
    return configuration.update(key, edit(configuration.get<T>(key)!), vscode.ConfigurationTarget.Global);
  });
  lastChange = changed.catch(() => undefined);
  return changed;
}

/** The present value of a setting of the server. */
export function serverSetting<T>(key: string, otherwise: T): T {
  return vscode.workspace.getConfiguration(SECTION).get<T>(key, otherwise);
}
