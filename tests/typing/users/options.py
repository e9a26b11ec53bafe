"""The decorators' arguments: misspelt and mistyped ones are errors."""

from __future__ import annotations

from dwebsocket import (
    ViewOptions,
    WebSocketRequest,
    accept_websocket,
    require_websocket,
    websocket,
)


def view(request: WebSocketRequest) -> None: ...


# error: mypy=call-overload pyright=reportCallIssue
websocket(max_mesage_size=1)(view)
# error: mypy=call-overload pyright=reportCallIssue
accept_websocket(ping_intervall=1.0)
# error: mypy=call-overload pyright=reportCallIssue
require_websocket(subprotocol=["x"])
# error: mypy=call-overload pyright=reportArgumentType
websocket(max_message_size="1")
# error: mypy=call-overload pyright=reportArgumentType
websocket(max_message_size=1.5)
# error: mypy=call-overload pyright=reportArgumentType
websocket(max_message_size=None)
websocket(max_frame_size=None)
websocket(ping_interval=None, ping_timeout=5)
# error: mypy=call-overload pyright=reportArgumentType
websocket(ping_timeout=None)
websocket(overflow="drop_oldest")
# error: mypy=call-overload pyright=reportArgumentType
websocket(overflow="drop")
websocket(compression=True)
websocket(compression="dedicated")
# error: mypy=call-overload pyright=reportArgumentType
websocket(compression="zip")
websocket(dialect="modern")
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
websocket(dialect="moderne")
websocket(allowed_origins=["https://example.com"])
websocket(allowed_origins=("https://example.com", "*"))
# error: mypy=call-overload pyright=reportArgumentType
websocket(allowed_origins="*")
websocket(subprotocols=["chat"])
# error: mypy=call-overload pyright=reportArgumentType
websocket(subprotocols=7)
websocket(recheck_interval=0)
websocket(accept="manual", accept_timeout=5)
websocket(accept="auto")
# error: mypy=call-overload pyright=reportArgumentType
websocket(accept="hand")
# Settings that apply to all views are no arguments.
# error: mypy=call-overload pyright=reportCallIssue
websocket(broker="redis://localhost")
# error: mypy=call-overload pyright=reportCallIssue
websocket(max_connections=10)
# error: mypy=call-overload pyright=reportCallIssue,reportArgumentType
websocket("chat/")

shared: ViewOptions = {"max_message_size": 65_536, "idle_timeout": 300}
websocket(**shared)
accept_websocket(subprotocols=["chat"], **shared)(lambda request: None)
# error: mypy=typeddict-unknown-key pyright=reportAssignmentType
wrong: ViewOptions = {"max_mesage_size": 1}
