// Ghost text: a suggestion shown at the cursor, each token as faint as the model was unsure of it,
// with what stands in the training data underlined.

import { Prec, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  type KeyBinding,
  WidgetType,
  keymap,
} from "@codemirror/view";
import type { Accept } from "./lsp";

export interface Ghost {
  /** Where it is inserted, in characters of the document. */
  at: number;
  /** End of what it replaces. */
  to: number;
  text: string;
  /** How much of the suggestion's head was typed or accepted already. */
  nTaken: number;
  accept: Accept;
}

export interface Piece {
  text: string;
  /** Of the token that it belongs to; null where it is not known. */
  probability: number | null;
  isMatched: boolean;
}

export const setGhost = StateEffect.define<Ghost | null>();

/** The suggestion cut wherever a token or a match begins or ends. */
export function piecesOf(ghost: Ghost): Piece[] {
  const { tokens, matches } = ghost.accept;
  const whole = (tokens ?? []).map(([text]) => text).join("");
  const spelled = tokens && whole.startsWith(ghost.text) ? tokens : null;
  const cuts = new Set<number>([0, ghost.text.length]);
  let end = 0;
  for (const [text] of spelled ?? []) cuts.add((end += text.length));
  const spans = matches.map(({ start, end }) => [start, end].map((n) => unitsOf(ghost.text, n)));
  for (const [start, end] of spans) cuts.add(start).add(end);
  const ends = [...cuts].filter((cut) => cut <= ghost.text.length).sort((a, b) => a - b);
  const pieces: Piece[] = [];
  for (let i = 1; i < ends.length; i++) {
    pieces.push({
      text: ghost.text.slice(ends[i - 1], ends[i]),
      probability: spelled ? probabilityAt(spelled, ends[i - 1]) : null,
      isMatched: spans.some(([start, end]) => start <= ends[i - 1] && ends[i] <= end),
    });
  }
  return pieces;
}

/** How many UTF-16 units the first characters of a text take. */
function unitsOf(text: string, nChars: number): number {
  return [...text].slice(0, nChars).join("").length;
}

function probabilityAt(tokens: [string, number][], offset: number): number | null {
  let end = 0;
  for (const [text, logprob] of tokens) {
    end += text.length;
    if (offset < end) return Math.exp(logprob);
  }
  return null;
}

/** A span for a piece, in the ghost text and in the panel alike. */
export function spanOf(piece: Piece, text: string): HTMLElement {
  const span = document.createElement("span");
  span.textContent = text;
  if (piece.isMatched) span.classList.add("matched");
  if (piece.probability !== null) {
    span.style.setProperty("--certainty", piece.probability.toFixed(2));
    span.title = `${(100 * piece.probability).toFixed(0)} % sure`;
  }
  return span;
}

class GhostWidget extends WidgetType {
  constructor(private readonly ghost: Ghost) {
    super();
  }

  eq(other: GhostWidget): boolean {
    return this.ghost === other.ghost;
  }

  toDOM(): HTMLElement {
    const element = document.createElement("span");
    element.className = "ghost";
    let start = 0;
    for (const piece of piecesOf(this.ghost)) {
      const shown = piece.text.slice(Math.max(0, this.ghost.nTaken - start));
      start += piece.text.length;
      if (start > this.ghost.nTaken) element.append(spanOf(piece, shown));
    }
    return element;
  }

  ignoreEvent(): boolean {
    return true;
  }
}

export const ghostField = StateField.define<Ghost | null>({
  create: () => null,
  update(ghost, transaction) {
    for (const effect of transaction.effects) if (effect.is(setGhost)) return effect.value;
    if (!ghost) return null;
    if (transaction.docChanged) return typedThrough(ghost, transaction);
    return transaction.selection && transaction.selection.main.head !== ghost.at ? null : ghost;
  },
  provide: (field) => EditorView.decorations.from(field, decorations),
});

/** What is left of the ghost text when the user typed its head. */
function typedThrough(ghost: Ghost, transaction: any): Ghost | null {
  let left: Ghost | null = null;
  let nChanges = 0;
  transaction.changes.iterChanges((from: number, to: number, _: number, end: number, text: any) => {
    const typed = text.toString() as string;
    const rest = ghost.text.slice(ghost.nTaken);
    nChanges++;
    if (from === ghost.at && to === from && typed && rest.startsWith(typed) && rest !== typed) {
      left = { ...ghost, at: end, to: ghost.to + typed.length, nTaken: ghost.nTaken + typed.length };
    }
  });
  return nChanges === 1 ? left : null;
}

function decorations(ghost: Ghost | null): DecorationSet {
  if (!ghost) return Decoration.none;
  const shown = [Decoration.widget({ widget: new GhostWidget(ghost), side: 1 }).range(ghost.at)];
  if (ghost.to > ghost.at) {
    shown.push(Decoration.mark({ class: "replaced" }).range(ghost.at, ghost.to));
  }
  return Decoration.set(shown);
}

export interface GhostActions {
  accepted(ghost: Ghost): void;
  another(step: number): void;
  ask(): void;
}

/** The field with its keys; they fall through to the editor's where nothing is shown. */
export function ghostText(actions: GhostActions) {
  const onGhost = (run: (view: EditorView, ghost: Ghost) => void) => (view: EditorView) => {
    const ghost = view.state.field(ghostField);
    if (!ghost) return false;
    run(view, ghost);
    return true;
  };
  const keys: KeyBinding[] = [
    { key: "Tab", run: onGhost((view, ghost) => acceptAll(view, ghost, actions)) },
    { key: "Ctrl-ArrowRight", run: onGhost((view, ghost) => acceptWord(view, ghost, actions)) },
    { key: "Escape", run: onGhost((view) => view.dispatch({ effects: setGhost.of(null) })) },
    { key: "Alt-]", run: () => (actions.another(1), true) },
    { key: "Alt-[", run: () => (actions.another(-1), true) },
    { key: "Alt-\\", run: () => (actions.ask(), true) },
  ];
  return [ghostField, Prec.highest(keymap.of(keys))];
}

export function acceptAll(view: EditorView, ghost: Ghost, actions: GhostActions): void {
  const insert = ghost.text.slice(ghost.nTaken);
  view.dispatch({
    changes: { from: ghost.at, to: ghost.to, insert },
    selection: { anchor: ghost.at + insert.length },
    effects: setGhost.of(null),
    userEvent: "input.complete",
    scrollIntoView: true,
  });
  actions.accepted(ghost);
}

function acceptWord(view: EditorView, ghost: Ghost, actions: GhostActions): void {
  const rest = ghost.text.slice(ghost.nTaken);
  const word = /^\s*(\w+|[^\w\s]+)/u.exec(rest)?.[0] ?? rest;
  if (word === rest) {
    acceptAll(view, ghost, actions);
    return;
  }
  view.dispatch({
    changes: { from: ghost.at, insert: word },
    selection: { anchor: ghost.at + word.length },
    userEvent: "input.complete",
  });
}
