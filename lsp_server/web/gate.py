"""Who may talk to the local web server: the browser that was given the token, and nobody else.

Any page that the user visits can send requests to the loopback interface, and any program on the
machine can. So every request must name this server as its host (a foreign name that resolves to the
loopback address does not), a browser's WebSocket must come from the server's own page, and whoever
asks must know a secret: the token of the printed address, or the cookie that it was traded for.

Browsers share cookies among all ports of a host. So the cookie is for a folder that nobody can
guess: no other server of the machine is sent it, and two playgrounds keep out of each other's way.
"""

import hmac
import secrets
from dataclasses import dataclass, field

from websockets.datastructures import Headers

COOKIE = "starling_session"


@dataclass(slots=True, kw_only=True)
class Gate:
    """The secrets of one run of the server."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Stands in the address that is printed."""
    is_token_spent: bool = False
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """The cookie's value."""
    folder: str = field(default_factory=lambda: f"/{secrets.token_urlsafe(24)}/")
    """Where the site is, in the address: what the cookie is sent for."""

    @property
    def hosts(self) -> tuple[str, str]:
        """What a request may call this server."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    def is_own_host(self, headers: Headers) -> bool:
        """Whether the request was made to this server by its own name."""
        return headers.get_all("Host") in [[host] for host in self.hosts]

    def is_own_origin(self, headers: Headers) -> bool:
        """Whether the request comes from this server's page, or from no browser at all."""
        origins = headers.get_all("Origin")
        return not origins or origins in [[f"http://{host}"] for host in self.hosts]

    def knows_session(self, headers: Headers) -> bool:
        """Whether the cookie is there, among whatever other servers of this host have set."""
        pairs = (pair.strip() for line in headers.get_all("Cookie") for pair in line.split(";"))
        return any(_same(pair, f"{COOKIE}={self.session}") for pair in pairs)

    def knows_token(self, headers: Headers, query_token: str) -> bool:
        """Whether the token stands in the address or in an `Authorization: Bearer` header."""
        bearers = [value.removeprefix("Bearer ") for value in headers.get_all("Authorization")]
        return any(_same(given, self.token) for given in (query_token, *bearers))

    def trade(self, query_token: str) -> str | None:
        """The `Set-Cookie` value for the token, once; None when it is wrong or was used before."""
        if self.is_token_spent or not _same(query_token, self.token):
            return None
        self.is_token_spent = True
        return f"{COOKIE}={self.session}; HttpOnly; SameSite=Strict; Path={self.folder}"


def _same(given: str, secret: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
