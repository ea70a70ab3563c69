// JSON-RPC over a WebSocket: one text message is one LSP message.

export interface Position {
  line: number;
  character: number;
}

export interface Range {
  start: Position;
  end: Position;
}

export interface Source {
  package: string;
  version: string;
  path: string;
  licence: string;
  swhid: string;
  lines: [number, number];
}

export interface Match {
  verdict: string;
  start: number;
  end: number;
  matched_chars: number;
  origins: number;
  sources: Source[];
}

/** The argument of the command that tells the server of an accepted suggestion. */
export interface Accept {
  verdict: string;
  reason: string;
  matches: Match[];
  meanLogprob?: number;
  /** Text and log-probability of each token, where the server tells them. */
  tokens?: [string, number][];
}

export interface InlineItem {
  insertText: string;
  range: Range;
  command?: { command: string; arguments: [Accept] };
}

export interface Status {
  state: string;
  reason: string;
  model: string | null;
  tokensPerSecond: number | null;
  hitRate: number | null;
  /** Of files around the document, kept in memory; null while they are being read. */
  workspaceTokens: number | null;
}

type Handler = (params: any) => unknown;

export class Connection {
  private readonly waiting = new Map<
    number,
    { resolve: (value: any) => void; reject: (error: Error) => void }
  >();
  private readonly handlers = new Map<string, Handler>();
  private nextId = 1;

  private constructor(private readonly socket: WebSocket) {
    socket.onmessage = (event) => this.receive(JSON.parse(event.data));
  }

  static open(url: string, onClose: (reason: string) => void): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      const connection = new Connection(socket);
      socket.onopen = () => resolve(connection);
      socket.onclose = (event) => {
        const reason = event.reason || "the server has ended";
        connection.failAll(reason);
        reject(new Error(reason));
        onClose(reason);
      };
    });
  }

  /** Answers a request, or takes a notification, of the server. */
  on(method: string, handler: Handler): void {
    this.handlers.set(method, handler);
  }

  notify(method: string, params: unknown): void {
    this.send({ method, params });
  }

  /** The answer, and a way to say that it is not needed any more. */
  request<T>(method: string, params: unknown): { answer: Promise<T>; cancel: () => void } {
    const id = this.nextId++;
    const answer = new Promise<T>((resolve, reject) => {
      if (this.socket.readyState === WebSocket.OPEN) this.waiting.set(id, { resolve, reject });
      else reject(new Error("the server has ended"));
    });
    this.send({ id, method, params });
    return { answer, cancel: () => this.notify("$/cancelRequest", { id }) };
  }

  execute<T>(command: string, argument: unknown): Promise<T> {
    const params = { command, arguments: [argument] };
    return this.request<T>("workspace/executeCommand", params).answer;
  }

  /** A command whose answer says nothing. */
  notice(command: string, argument: unknown): void {
    this.execute(command, argument).catch(() => {});
  }

  private receive(message: any): void {
    if (message.method === undefined) {
      const caller = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (message.error) caller?.reject(new Error(message.error.message));
      else caller?.resolve(message.result);
      return;
    }
    const handler = this.handlers.get(message.method);
    const result = handler ? handler(message.params) : null;
    if (message.id !== undefined) this.send({ id: message.id, result: result ?? null });
  }

  private send(message: object): void {
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
    }
  }

  private failAll(reason: string): void {
    for (const { reject } of this.waiting.values()) reject(new Error(reason));
    this.waiting.clear();
  }
}
