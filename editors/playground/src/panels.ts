// What stands beside the editor: the suggestion's tokens and origins, alternatives, times.

import DOMPurify from "dompurify";
import { marked } from "marked";
import { type Ghost, piecesOf, spanOf } from "./ghost";
import type { Match, Status } from "./lsp";

const VERDICTS: Record<string, string> = {
  copy: "copy: this stands in the training data",
  common: "common: many projects have this",
  none: "none: not found in the training data",
  unknown: "unknown",
};

export function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

export function showStatus(status: Status): void {
  const facts = [status.model ?? "no model", status.state];
  if (status.tokensPerSecond) facts.push(`${status.tokensPerSecond.toFixed(0)} tokens/s`);
  if (status.hitRate !== null && status.hitRate !== undefined) {
    facts.push(`${(100 * status.hitRate).toFixed(0)} % from the cache`);
  }
  if (status.workspaceTokens) {
    facts.push(`${status.workspaceTokens.toLocaleString("en")} tokens of other files`);
  }
  if (status.reason) facts.push(status.reason);
  element("status").textContent = facts.join(" · ");
  element("status").dataset.state = status.state;
}

export function showSuggestion(ghost: Ghost | null): void {
  const verdict = element("verdict");
  const { verdict: kind, reason, matches } = ghost?.accept ?? {
    verdict: "",
    reason: "",
    matches: [],
  };
  verdict.dataset.verdict = kind;
  verdict.textContent = [VERDICTS[kind] ?? "", kind === "unknown" ? reason : ""]
    .filter(Boolean)
    .join(": ");
  element("tokens").replaceChildren(
    ...(ghost ? piecesOf(ghost).map((piece) => spanOf(piece, piece.text)) : []),
  );
  element("matches").replaceChildren(...matches.map(matchItem));
}

function matchItem(match: Match): HTMLElement {
  const item = document.createElement("li");
  const size = `${match.matched_chars} characters, ${match.origins} project(s)`;
  item.append(paragraph(`${match.verdict}: ${size}`));
  for (const source of match.sources) {
    const [first, last] = source.lines;
    const place = `${source.path}:${first}-${last}`;
    item.append(paragraph(`${source.package} ${source.version} (${source.licence}), ${place}`));
    const id = document.createElement("code");
    id.textContent = `${source.swhid};lines=${first}-${last}`;
    item.append(id);
  }
  return item;
}

function paragraph(text: string): HTMLElement {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}

export function showAlternatives(
  ghosts: readonly Ghost[],
  chosen: number,
  choose: (index: number) => void,
): void {
  const items = ghosts.map((ghost, index) => {
    const button = document.createElement("button");
    button.textContent = ghost.text;
    button.setAttribute("aria-pressed", String(index === chosen));
    button.onclick = () => choose(index);
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  element("alternatives").replaceChildren(...items);
}

const times: number[] = [];

/** The time from a key to its ghost text, beside the median of all so far. */
export function showTime(elapsedMs: number): void {
  times.push(elapsedMs);
  const sorted = [...times].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  element("time").textContent =
    `key to suggestion ${elapsedMs.toFixed(0)} ms, median ${median.toFixed(0)} ms of ${times.length}`;
}

/** Markdown from the server: code that it quotes may hold anything, so it is cleaned; names are
 * taken off, since the page finds its parts by them. */
export function showMarkdown(id: string, markdown: string): void {
  const html = marked.parse(markdown, { async: false });
  element(id).innerHTML = DOMPurify.sanitize(html, {
    FORBID_TAGS: ["img", "style", "form"],
    FORBID_ATTR: ["id", "name", "class", "style"],
  });
}
