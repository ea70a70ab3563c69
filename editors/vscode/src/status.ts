/**
 * What the status bar says, from what the server and the extension know.
 *
 * Words first: nothing is said by an icon or a colour alone. Knows nothing of VS Code.
 */

export type Verdict = 'copy' | 'common' | 'none' | 'unknown';

/** The server's notification `starling/status`. */
export interface ServerStatus {
  state: 'loading' | 'ready' | 'busy' | 'paused' | 'off' | 'error';
  reason: string;
  model: string | null;
  /** Of the last suggestion that was sent. */
  verdict: Verdict | null;
  /** The first source of a copy: package, version, licence. */
  source?: string | null;
  tokensPerSecond?: number | null;
  /** Share of the requests that needed no computing. */
  hitRate?: number | null;
  /** Of files around the document, kept in memory; null while they are being read. */
  workspaceTokens?: number | null;
}

/** The extension's own words while there is no server to ask. */
export interface NoServer {
  state: 'starting' | 'settingUp' | 'missing' | 'stopped';
  reason: string;
}

export interface View {
  text: string;
  /** One sentence for the tooltip and for screen readers. */
  sentence: string;
  facts: string[];
  isProblem: boolean;
}

/** How the status bar looks. `isShown`: a suggestion stands in the editor at this moment. */
export function viewOf(status: ServerStatus | NoServer, isShown: boolean): View {
  switch (status.state) {
    case 'starting':
      return view('loading~spin', 'starting', 'The server is starting.');
    case 'settingUp':
      return view('loading~spin', 'setting up', status.reason);
    case 'missing':
      return problem('not set up', status.reason);
    case 'stopped':
      return problem('stopped', status.reason);
    case 'error':
      return problem('problem', status.reason || 'Something went wrong: see the log.');
    case 'loading':
      return view('loading~spin', 'loading', status.reason || 'The model is loading.');
    case 'paused':
      return view('debug-pause', 'paused', status.reason || 'Suggestions are paused.');
    case 'off':
      return view('circle-slash', 'off', status.reason || 'Suggestions are turned off in the settings.');
    default:
      return { ...suggesting(status, isShown), facts: factsOf(status) };
  }
}

function suggesting(status: ServerStatus, isShown: boolean): View {
  const icon = status.state === 'busy' ? 'loading~spin' : 'sparkle';
  if (!isShown || status.verdict === null) {
    return view(icon, '', status.reason || 'Ready to suggest.');
  }
  switch (status.verdict) {
    case 'copy': {
      const source = status.source ?? 'code of the training data';
      return view('law', `copy of ${source}`, `This suggestion copies ${source}.`);
    }
    case 'common':
      return view('references', 'common code', 'This suggestion stands in many projects of the training data.');
    case 'none':
      return view(icon, 'no match', 'This suggestion was not found in the training data.');
    case 'unknown':
      return view(icon, 'origin unknown', 'Whether this suggestion repeats the training data is not known.');
  }
}

function factsOf(status: ServerStatus): string[] {
  const facts = [];
  if (status.model) {
    facts.push(`Model: ${status.model}`);
  }
  if (status.tokensPerSecond) {
    facts.push(`Speed: ${Math.round(status.tokensPerSecond)} tokens a second`);
  }
  if (status.hitRate !== null && status.hitRate !== undefined) {
    facts.push(`Answered without computing: ${Math.round(status.hitRate * 100)} %`);
  }
  if (status.workspaceTokens) {
    facts.push(`Words of the workspace: ${status.workspaceTokens.toLocaleString('en')} tokens`);
  }
  return facts;
}

function view(icon: string, words: string, sentence: string): View {
  const text = words ? `$(${icon}) Starling: ${words}` : `$(${icon}) Starling`;
  return { text, sentence: asSentence(sentence), facts: [], isProblem: false };
}

function problem(words: string, reason: string): View {
  return { ...view('warning', words, reason), isProblem: true };
}

function asSentence(reason: string): string {
  const trimmed = reason.trim().replace(/\.$/, '');
  return `${trimmed.charAt(0).toUpperCase()}${trimmed.slice(1)}.`;
}
