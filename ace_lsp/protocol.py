"""pygls' language server protocol with its measured defects corrected.

Each correction names the letter that its test in tests/protocol/test_conformance.py bears; PYGLS.md says of
each what pygls does, so that it can be reported:

    a  a request before `initialize` is answered ServerNotInitialized
    b  a notification before `initialize` is dropped, except `exit`
    c  a second `initialize` is refused
    d  a request after `shutdown` is answered InvalidRequest
    e  `exit` gives exit code 0 after `shutdown`, else 1
    f  `shutdown` succeeds while requests run, and cancels them
    g  malformed params are answered InvalidParams
    h  a body that is not JSON is answered ParseError, a batch InvalidRequest
    i  header names are case-insensitive (transport.py)
    j  a key "jsonrpc" deep inside params is data
    k  `exit` waits for nothing that still runs (transport.py, __main__.py)
    l  slow handlers can't make the server deaf (transport.py)
    m  lines end where the specification says (documents.py)
    n  positions behind the end are clamped to the end (documents.py)
    o  finished progress tokens are forgotten (features/progress.py)
    p  the server ends with its parent (__main__.py)
    s  cancelling `workspace/executeCommand` cancels the command and not only its answer
    t  an answer to our own request that can't be read fails that request instead of never ending it
    u  what a notification left running is forgotten when it has ended
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Generator
from enum import Enum, auto
from typing import Any, cast

from lsprotocol import types
from pygls.capabilities import ServerCapabilitiesBuilder
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import LanguageServerProtocol, lsp_method
from pygls.uris import from_fs_path

from ace_lsp.documents import AceWorkspace

logger = logging.getLogger(__name__)

Message = dict[str, Any]


class Lifecycle(Enum):
    NEW = auto()
    RUNNING = auto()
    SHUT_DOWN = auto()


class AceProtocol(LanguageServerProtocol):
    """The protocol as the specification has it."""

    lifecycle = Lifecycle.NEW
    on_exit: asyncio.Event | None = None
    """Set when the client says `exit`; whoever runs the server waits for it."""

    @property
    def exit_code(self) -> int:
        return 0 if self.lifecycle is Lifecycle.SHUT_DOWN else 1

    @property
    def running(self) -> int:
        """How many messages are being handled, and requests of ours not answered."""
        return len(self._request_futures)

    def receive_garbage(self, reason: str) -> None:
        logger.warning("unreadable message: %s", reason)
        self._refuse(None, JsonRpcParseError(reason))

    def receive(self, data: object) -> None:
        """Check one decoded message against JSON-RPC and the life cycle, then hand it to pygls."""
        if not isinstance(data, dict) or data.get("jsonrpc") != "2.0":
            self._refuse(_id_of(data), JsonRpcInvalidRequest("expected one JSON-RPC 2.0 message"))
        elif "method" in data:
            self._receive_call(data)
        elif "id" in data and ("result" in data or "error" in data):
            self._receive_answer(data)
        else:
            self._refuse(_id_of(data), JsonRpcInvalidRequest("expected a method, a result or an error"))

    def _receive_call(self, data: Message) -> None:
        method, is_request = data["method"], "id" in data
        error = self._objection(data)
        if error is None:
            try:
                message = self.structure_message(data)
            except JsonRpcException:
                error = JsonRpcInvalidParams(f"{method}: the params are not those of the specification")
            else:
                self.handle_message(cast(Any, message))
                return
        if is_request:
            self._refuse(_id_of(data), error)
        else:
            logger.warning("ignored notification %r: %s", method, error)

    def _objection(self, data: Message) -> JsonRpcException | None:
        """Why a request or notification can't be handled now, or None."""
        method, is_request = data["method"], "id" in data
        if not isinstance(method, str) or (is_request and _id_of(data) is None):
            return JsonRpcInvalidRequest("expected a string as method, and a string or an integer as id")
        if method == types.EXIT and not is_request:
            return None
        if self.lifecycle is Lifecycle.SHUT_DOWN:
            return JsonRpcInvalidRequest("the server has been shut down")
        if self.lifecycle is Lifecycle.NEW and method != types.INITIALIZE:
            return JsonRpcServerNotInitialized("expected initialize first")
        if self.lifecycle is Lifecycle.RUNNING and method == types.INITIALIZE:
            return JsonRpcInvalidRequest("expected initialize only once")
        known = method in self.fm.builtin_features or method in self.fm.features
        if not known and method != types.CANCEL_REQUEST:
            return JsonRpcMethodNotFound.of(method)
        return None

    def _receive_answer(self, data: Message) -> None:
        if data["id"] is None:
            logger.warning("the client could not read a message of ours: %s", data.get("error"))
            return
        try:
            message = self.structure_message(data)
        except JsonRpcException as error:
            future = self._request_futures.pop(data["id"], None)
            if future is not None and not future.done():
                future.set_exception(error)
            return
        self.handle_message(cast(Any, message))

    def _execute_handler(
        self,
        msg_id: str | int,
        handler: Callable[..., Any],
        callback: Callable[[Any], None],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        """As pygls', but without keeping the future of each notification for ever."""
        super()._execute_handler(msg_id, handler, callback, args, kwargs)
        if (future := self._request_futures.get(msg_id)) is not None:
            future.add_done_callback(lambda ended: self._forget(msg_id, ended))

    def _forget(self, message_id: str | int, future: object) -> None:
        if self._request_futures.get(message_id) is future:
            del self._request_futures[message_id]

    def _refuse(self, message_id: str | int | None, error: JsonRpcException) -> None:
        body = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": "2.0", "id": message_id, "error": body})

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """As pygls', but with our workspace, and the life cycle noted."""
        server = self._server
        server.process_id = params.process_id
        self.client_capabilities = params.capabilities
        self.trace = params.trace or types.TraceValue.Off
        encoding = ServerCapabilitiesBuilder.choose_position_encoding(params.capabilities)
        root = params.root_uri
        if root is None and params.root_path is not None:
            root = from_fs_path(params.root_path)
        sync = server._text_document_sync_kind
        self._workspace = AceWorkspace(root, sync, params.workspace_folders or [], encoding)
        self.lifecycle = Lifecycle.RUNNING
        if (handler := self.fm.features.get(types.INITIALIZE)) is not None:
            yield handler, (params,), None
        self.server_capabilities = ServerCapabilitiesBuilder(
            params.capabilities,
            {*self.fm.features, *self.fm.builtin_features},
            self.fm.feature_options,
            list(self.fm.commands),
            sync,
            server._notebook_document_sync,
            encoding,
        ).build()
        return types.InitializeResult(capabilities=self.server_capabilities, server_info=self.server_info)

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *_: object) -> Generator[Any, Any, None]:
        if (handler := self.fm.features.get(types.SHUTDOWN)) is not None:
            yield handler, _, None
        self.lifecycle = Lifecycle.SHUT_DOWN
        for message_id, future in list(self._request_futures.items()):
            if message_id != self.msg_id and not future.done():
                future.cancel()

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self.on_exit is not None:
            self.on_exit.set()

    @lsp_method(types.WORKSPACE_EXECUTE_COMMAND)
    async def lsp_workspace__execute_command(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, params: types.ExecuteCommandParams
    ) -> Any:
        """Run a command inside the request's own task, so that cancelling the request reaches it."""
        handler = self.fm.commands.get(params.command)
        if handler is None:
            known = ", ".join(sorted(self.fm.commands))
            raise JsonRpcInvalidParams(f"expected one of {known}, got {params.command!r}")
        arguments = params.arguments or []
        try:
            inspect.signature(handler).bind(*arguments)
        except TypeError as error:
            raise JsonRpcInvalidParams(f"{params.command}: {error}") from error
        result = handler(*arguments)
        return await result if inspect.isawaitable(result) else result


def _id_of(data: object) -> str | int | None:
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None
