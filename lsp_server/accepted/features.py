"""What becomes of a suggestion after it was accepted, as LSP messages: diagnostics and actions.

A failure is a sentence in the status, never a dialog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from attribution import accepted_record
from attribution.errors import AttributionError
from lsp_server.accepted import acceptance, changes, diagnostics, matches
from lsp_server.accepted.copies import AcceptedCopy, Copies

if TYPE_CHECKING:
    from lsp_server.accepted.acceptance import Acceptance, CopiedPart
    from lsp_server.server import StarlingServer

ACCEPTED = "starling.accepted"
MATCHES = "starling.matches"


def register(server: StarlingServer) -> None:
    """Makes the commands known to pygls, and listens to what changes documents."""
    feature = AcceptedFeature(server)
    commands = {
        ACCEPTED: feature.accepted,
        MATCHES: feature.matches,
        diagnostics.INSERT_NOTICE: feature.insert_notice,
        diagnostics.ADD_TO_NOTICES: feature.add_to_notices,
        diagnostics.IGNORE_SOURCE: feature.ignore_source,
        diagnostics.UNDO_ACCEPT: feature.undo_accept,
    }
    for name, command in commands.items():
        server.command(name)(_guarded(server, name, command))
    server.on_text.append(feature.text_changed)
    server.on_shown.append(feature.shown)
    server.code_action_offers.append(feature.code_actions)


class AcceptedFeature:
    """Accepted copies of one session. To be used by the event loop's thread only."""

    def __init__(self, server: StarlingServer) -> None:
        self._server = server
        self._copies = Copies(server.documents)
        self._published: dict[str, tuple[types.Diagnostic, ...]] = {}
        self._last_shown: dict[str, Any] | None = None

    def shown(self, accept: dict[str, Any]) -> None:
        """A suggestion was sent; its command's argument."""
        self._last_shown = accept

    async def accepted(self, *arguments: Any) -> None:
        """`starling.accepted`."""
        try:
            accepted = acceptance.from_json(arguments[0] if arguments else None)
        except ValueError as error:
            self._explain(str(error))
            return
        self._copies.accept(accepted)
        self._publish(accepted.uri)
        for react in self._server.on_accepted:
            react(arguments[0])
        if self._server.settings.record_accepted:
            await self._record(accepted, arguments[0])

    async def matches(self, *arguments: Any) -> dict[str, Any]:
        """`starling.matches`: of the last suggestion that was sent."""
        return matches.describe(self._last_shown)

    async def insert_notice(self, *arguments: Any) -> None:
        """`starling.insertNotice`: a comment above the copy."""
        found = self._find(arguments)
        if found is None:
            return
        copy, part = found
        edit = changes.notice_above(copy, part)
        if edit is None:
            language_id = copy.document.language_id
            self._explain(f"{language_id} has no comments: use the notices file instead")
            return
        await self._apply("Insert a notice", changes.in_document(self._server, copy.document, edit))

    async def add_to_notices(self, *arguments: Any) -> None:
        """`starling.addToNotices`: an entry in the workspace's THIRD_PARTY_NOTICES."""
        found = self._find(arguments)
        if found is None:
            return
        copy, part = found
        try:
            edit = await changes.notices_edit(self._server, copy.document.uri, part.sources[:1])
        except AttributionError as error:
            self._explain(str(error))
            return
        if edit is not None:
            await self._apply("Add to the third-party notices", edit)

    async def ignore_source(self, *arguments: Any) -> None:
        """`starling.ignoreSource`: no reports about these packages until the session ends."""
        found = self._find(arguments)
        if found is None:
            return
        packages = found[1].packages
        for uri in self._copies.ignore(packages):
            self._publish(uri)
        names = ", ".join(f'"{package}"' for package in packages)
        self._server.window_show_message(
            types.ShowMessageParams(
                type=types.MessageType.Info,
                message=(
                    "Starling reports no copies of this source until the session ends. To keep "
                    f"it so, add {names} to the setting starling.allowedSources."
                ),
            )
        )

    async def undo_accept(self, *arguments: Any) -> None:
        """`starling.undoAccept`: the accepted text goes, what it replaced comes back."""
        found = self._find(arguments)
        if found is not None:
            copy, _ = found
            await self._apply(
                "Undo the accepted suggestion",
                changes.in_document(self._server, copy.document, changes.undo(copy)),
            )

    def code_actions(self, ls: Any, params: types.CodeActionParams) -> list[types.CodeAction]:
        """Actions on the copies at a range."""
        document = self._server.documents.get(params.text_document.uri)
        if document is None:
            return []
        return diagnostics.actions_at(
            self._copies, document, params.range, with_related=self._with_related
        )

    def text_changed(self, uri: str) -> None:
        """A document was opened, changed or closed."""
        self._copies.edited(uri)
        self._publish(uri)

    @property
    def _with_related(self) -> bool:
        text_document = self._server.client_capabilities.text_document
        client = text_document.publish_diagnostics if text_document else None
        return bool(client and client.related_information)

    def _publish(self, uri: str) -> None:
        """Sends the diagnostics of a document where they are not what the client has."""
        found = diagnostics.diagnostics_of(self._copies, uri, with_related=self._with_related)
        if found == self._published.get(uri, ()):
            return
        document = self._server.documents.get(uri)
        self._server.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(
                uri=uri,
                version=document.version if document else None,
                diagnostics=found,
            )
        )
        self._published[uri] = found
        if not found:
            del self._published[uri]

    def _find(self, arguments: tuple[Any, ...]) -> tuple[AcceptedCopy, CopiedPart] | None:
        """What an action is about; None, with a sentence in the status, when it is gone."""
        try:
            uri, copy_id, part_idx = (arguments[0][key] for key in ("uri", "copy", "part"))
            copy = self._copies.get(uri, copy_id)
            if copy is not None:
                return copy, copy.acceptance.copies[part_idx]
        except (IndexError, KeyError, TypeError):
            pass
        self._explain("the accepted text was changed meanwhile: nothing was done")
        return None

    async def _apply(self, label: str, edit: types.WorkspaceEdit) -> None:
        params = types.ApplyWorkspaceEditParams(edit=edit, label=label)
        answer = await self._server.workspace_apply_edit_async(params)
        if not answer.applied:
            self._explain(f"the editor did not apply the change: {label.lower()}")

    async def _record(self, accepted: Acceptance, argument: dict[str, Any]) -> None:
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "uri": accepted.uri,
            "range": argument["range"],
            "verdict": accepted.verdict,
            "sources": [source for match in argument["matches"] for source in match["sources"]],
        }
        loop = asyncio.get_running_loop()
        path = accepted_record.record_path()
        try:
            await loop.run_in_executor(None, accepted_record.append, entry, path)
        except AttributionError as error:
            self._explain(str(error))

    def _explain(self, reason: str) -> None:
        self._server.status.update(reason=reason)


def _guarded(
    server: StarlingServer, name: str, command: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Any]]:
    """A command that answers null where it fails, since editors show errors as dialogs.

    A function, because pygls writes attributes on what it registers, which methods refuse."""

    async def guarded(*arguments: Any) -> Any:
        try:
            return await command(*arguments)
        except Exception as error:
            server.report_failure(name, error)
            return None

    return guarded
