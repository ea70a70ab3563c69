"""How long a request of somebody who types waits before anything is computed.

The rule is the one for renting skis: wait as long as computing takes. Whoever types on meanwhile
costs nothing; whoever stops gets the answer after twice the time at most; and what is computed in
vain is never more than what had to be computed. A model of 40 ms is thus asked nearly at each key,
one of 300 ms when the user pauses.
"""

# Editors that wait themselves before they ask (research: VS Code's inline completions controller,
# Neovim's vim.lsp.inline_completion), in milliseconds, by `clientInfo.name` of LSP.
CLIENT_WAITS_MS = {
    "Visual Studio Code": 50.0,
    "Visual Studio Code - Insiders": 50.0,
    "VSCodium": 50.0,
    "code-server": 50.0,
    "Neovim": 200.0,
}
MAX_WAIT_MS = 400.0


def wait_ms(
    *, setting_ms: int | None, mean_compute_ms: float | None, client_name: str | None
) -> float:
    """Milliseconds from an automatic request to the begin of its computation.

    | setting | model takes | client      | wait |
    |---------|-------------|-------------|------|
    | 75      | any         | any         | 75   |
    | empty   | 40          | any other   | 40   |
    | empty   | 40          | Neovim      | 0    |
    | empty   | 300         | Neovim      | 100  |
    | empty   | 900         | VS Code     | 350  |
    """
    if setting_ms is not None:
        return float(setting_ms)
    waited_ms = CLIENT_WAITS_MS.get(client_name or "", 0.0)
    return max(0.0, min(mean_compute_ms or 0.0, MAX_WAIT_MS) - waited_ms)
