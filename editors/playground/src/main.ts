// The playground: an editor that speaks LSP to the server behind the page, as any editor would.

import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { cpp } from "@codemirror/lang-cpp";
import { go } from "@codemirror/lang-go";
import { java } from "@codemirror/lang-java";
import { javascript } from "@codemirror/lang-javascript";
import { python } from "@codemirror/lang-python";
import { rust } from "@codemirror/lang-rust";
import {
  bracketMatching,
  defaultHighlightStyle,
  indentOnInput,
  indentUnit,
  syntaxHighlighting,
} from "@codemirror/language";
import { Compartment, EditorState, type Text } from "@codemirror/state";
import {
  EditorView,
  type ViewUpdate,
  drawSelection,
  highlightActiveLine,
  keymap,
  lineNumbers,
} from "@codemirror/view";
import { type Ghost, ghostField, ghostText, setGhost } from "./ghost";
import { Connection, type InlineItem, type Position, type Range, type Status } from "./lsp";
import {
  element,
  showAlternatives,
  showMarkdown,
  showStatus,
  showSuggestion,
  showTime,
} from "./panels";
import sample from "../../../examples/inventory.py";

const LANGUAGES: Record<string, { extension: () => any; suffix: string }> = {
  python: { extension: python, suffix: "py" },
  javascript: { extension: javascript, suffix: "js" },
  typescript: { extension: () => javascript({ typescript: true }), suffix: "ts" },
  go: { extension: go, suffix: "go" },
  rust: { extension: rust, suffix: "rs" },
  cpp: { extension: cpp, suffix: "cpp" },
  java: { extension: java, suffix: "java" },
};
const INVOKED = 1;
const AUTOMATIC = 2;

class Playground {
  private view!: EditorView;
  private uri: string;
  private version = 1;
  private asked = 0;
  private cancelAsked = () => {};
  private ghosts: Ghost[] = [];
  private chosen = 0;
  private keyAt: number | null = null;
  private cancelExplaining = () => {};
  private isPaused = false;
  private readonly language = new Compartment();

  constructor(
    private readonly server: Connection,
    file: { uri: string; text: string } | null,
  ) {
    this.uri = file?.uri ?? "untitled:playground.py";
    const languageId = languageOf(this.uri);
    this.view = new EditorView({
      parent: element("editor"),
      state: EditorState.create({
        doc: file?.text ?? sample,
        extensions: [
          ghostText({
            accepted: (ghost) => this.server.notice("starling.accepted", ghost.accept),
            another: (step) => void this.another(step),
            ask: () => void this.ask(INVOKED),
          }),
          lineNumbers(),
          history(),
          drawSelection(),
          highlightActiveLine(),
          indentOnInput(),
          indentUnit.of("    "),
          bracketMatching(),
          closeBrackets(),
          syntaxHighlighting(defaultHighlightStyle, { fallback: true }),
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, indentWithTab]),
          this.language.of(LANGUAGES[languageId].extension()),
          EditorView.updateListener.of((update) => this.changed(update)),
          EditorView.contentAttributes.of({ "aria-label": "Code" }),
        ],
      }),
    });
    this.open(languageId);
    this.view.focus();
  }

  /** The document under another language, and so another name. */
  setLanguage(languageId: string): void {
    this.server.notify("textDocument/didClose", { textDocument: { uri: this.uri } });
    this.uri = `untitled:playground.${LANGUAGES[languageId].suffix}`;
    this.view.dispatch({
      effects: [this.language.reconfigure(LANGUAGES[languageId].extension()), setGhost.of(null)],
    });
    this.open(languageId);
    this.view.focus();
  }

  async explain(): Promise<void> {
    this.cancelExplaining();
    const { main } = this.view.state.selection;
    const document = this.view.state.doc;
    const place = main.empty
      ? { position: positionOf(document, main.head) }
      : { range: { start: positionOf(document, main.from), end: positionOf(document, main.to) } };
    showMarkdown("explanation", "*Reading …*");
    const argument = { textDocument: { uri: this.uri }, token: "explanation", ...place };
    const request = this.server.request<{ markdown: string } | null>("workspace/executeCommand", {
      command: "starling.explain",
      arguments: [argument],
    });
    const cancel = (this.cancelExplaining = request.cancel);
    try {
      const answer = await request.answer;
      showMarkdown("explanation", answer?.markdown ?? "There is nothing to explain here.");
    } catch (error) {
      // Nothing to say where another explanation was asked for meanwhile.
      if (cancel === this.cancelExplaining) {
        showMarkdown("explanation", `No explanation: ${(error as Error).message}.`);
      }
    }
  }

  async showPrompt(): Promise<void> {
    const position = positionOf(this.view.state.doc, this.view.state.selection.main.head);
    const argument = { textDocument: { uri: this.uri }, position };
    const prompt = await this.server
      .execute<string | null>("starling.showPrompt", argument)
      .catch(() => null);
    element("prompt").textContent = prompt ?? "there is none: the line at the top says why";
  }

  pauseOrResume(button: HTMLElement): void {
    this.isPaused = !this.isPaused;
    this.server.notice(this.isPaused ? "starling.pause" : "starling.resume", {});
    button.textContent = this.isPaused ? "Resume" : "Pause";
    this.view.dispatch({ effects: setGhost.of(null) });
  }

  private open(languageId: string): void {
    this.version = 1;
    const text = this.view.state.doc.toString();
    this.server.notify("textDocument/didOpen", {
      textDocument: { uri: this.uri, languageId, version: this.version, text },
    });
  }

  private changed(update: ViewUpdate): void {
    if (update.docChanged) {
      this.version++;
      this.server.notify("textDocument/didChange", {
        textDocument: { uri: this.uri, version: this.version },
        contentChanges: changesOf(update),
      });
    }
    const ghost = update.state.field(ghostField);
    if (ghost !== update.startState.field(ghostField)) {
      if (!this.ghosts.includes(ghost as Ghost)) this.ghosts = ghost ? [ghost] : [];
      this.chosen = Math.max(0, this.ghosts.indexOf(ghost as Ghost));
      showSuggestion(ghost);
      showAlternatives(this.ghosts, this.chosen, (index) => this.choose(index));
    }
    const byUser = update.transactions.some(
      (one) => one.isUserEvent("input") || one.isUserEvent("delete"),
    );
    if (byUser) {
      this.keyAt = performance.now();
      if (ghost) this.shown();
      else void this.ask(AUTOMATIC);
    }
  }

  /** Suggestions at the cursor; a later question, or a change, makes the answer worthless. */
  private async ask(triggerKind: number): Promise<void> {
    this.cancelAsked();
    const question = ++this.asked;
    const { doc, selection } = this.view.state;
    if (!selection.main.empty) return;
    const at = selection.main.head;
    const request = this.server.request<{ items: InlineItem[] }>("textDocument/inlineCompletion", {
      textDocument: { uri: this.uri },
      position: positionOf(doc, at),
      context: { triggerKind },
    });
    this.cancelAsked = request.cancel;
    const answer = await request.answer.catch(() => ({ items: [] as InlineItem[] }));
    if (question === this.asked) this.cancelAsked = () => {};
    const isCurrent =
      question === this.asked &&
      this.view.state.doc === doc &&
      this.view.state.selection.main.head === at;
    if (!isCurrent || !answer.items.length) return;
    this.ghosts = answer.items.map((item) => ({
      at,
      to: offsetOf(doc, item.range.end),
      text: item.insertText,
      nTaken: 0,
      accept: item.command?.arguments[0] ?? { verdict: "unknown", reason: "", matches: [] },
    }));
    this.choose(0);
    this.shown();
  }

  private async another(step: number): Promise<void> {
    if (this.ghosts.length < 2) await this.ask(INVOKED);
    if (this.ghosts.length) {
      this.choose((this.chosen + step + this.ghosts.length) % this.ghosts.length);
    }
  }

  private choose(index: number): void {
    this.view.dispatch({ effects: setGhost.of(this.ghosts[index]) });
    this.view.focus();
  }

  private shown(): void {
    const started = this.keyAt;
    this.keyAt = null;
    if (started !== null) requestAnimationFrame(() => showTime(performance.now() - started));
  }
}

/** Last first, so that each place is one of the text as it was. */
function changesOf(update: ViewUpdate): { range: Range; text: string }[] {
  const changes: { range: Range; text: string }[] = [];
  const before = update.startState.doc;
  update.changes.iterChanges((from, to, _, __, text) => {
    const range = { start: positionOf(before, from), end: positionOf(before, to) };
    changes.unshift({ range, text: text.toString() });
  });
  return changes;
}

function positionOf(document: Text, offset: number): Position {
  const line = document.lineAt(offset);
  return { line: line.number - 1, character: offset - line.from };
}

function offsetOf(document: Text, position: Position): number {
  const line = document.line(Math.min(position.line + 1, document.lines));
  return Math.min(line.from + position.character, line.to);
}

function languageOf(uri: string): string {
  const suffix = uri.slice(uri.lastIndexOf(".") + 1);
  const known = Object.entries(LANGUAGES).find(([, language]) => language.suffix === suffix);
  return known?.[0] ?? "python";
}

async function connect(): Promise<Connection> {
  const offline = {
    model: null,
    state: "off",
    tokensPerSecond: null,
    hitRate: null,
    workspaceTokens: null,
  };
  const url = new URL("lsp", location.href);
  url.protocol = "ws:";
  const server = await Connection.open(url.href, (reason) =>
    showStatus({ ...offline, reason: `${reason}: start it again in the terminal` }),
  );
  server.on("starling/status", (status: Status) => showStatus(status));
  server.on("workspace/configuration", ({ items }) => items.map(() => null));
  server.on("$/progress", ({ token, value }) => {
    if (token === "explanation" && value.markdown) showMarkdown("explanation", value.markdown);
  });
  await server.request("initialize", {
    processId: null,
    rootUri: null,
    clientInfo: { name: "starling-playground" },
    capabilities: {
      textDocument: { inlineCompletion: {}, synchronization: {} },
      general: { positionEncodings: ["utf-16"] },
    },
  }).answer;
  server.notify("initialized", {});
  return server;
}

async function start(): Promise<void> {
  const [server, file, card] = await Promise.all([
    connect(),
    fetch("document").then((answer) => answer.json()),
    fetch("model-card").then((answer) => answer.json()),
  ]);
  const playground = new Playground(server, file);
  showMarkdown("card", card ?? "This model has no card.");
  const language = element("language") as HTMLSelectElement;
  language.append(...Object.keys(LANGUAGES).map((name) => new Option(name)));
  language.value = languageOf(file?.uri ?? "untitled:playground.py");
  language.onchange = () => playground.setLanguage(language.value);
  element("explain").onclick = () => void playground.explain();
  element("show-prompt").onclick = () => void playground.showPrompt();
  element("pause").onclick = (event) =>
    playground.pauseOrResume(event.currentTarget as HTMLElement);
}

start().catch((error: Error) => {
  element("status").textContent = `${error.message}: start the playground again in the terminal`;
});
