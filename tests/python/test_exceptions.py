from __future__ import annotations

import copy
import pickle

import pytest
from django.core.exceptions import ImproperlyConfigured

from dwebsocket import _engine, exceptions, hub, session


def test_all_have_one_base_and_are_in_the_module_docstring():
    classes = [getattr(exceptions, name) for name in exceptions.__all__]
    # It must get through what catches exceptions.
    classes.remove(exceptions.PeerGone)
    assert not issubclass(exceptions.PeerGone, Exception)
    assert "PeerGone (BaseException)" in (exceptions.__doc__ or "")
    assert all(issubclass(cls, exceptions.WebSocketException) for cls in classes)
    assert all(cls.__name__ in (exceptions.__doc__ or "") for cls in classes)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (exceptions.ConfigurationError, ImproperlyConfigured),
        (exceptions.HandshakeError, ValueError),
        (exceptions.SocketUnavailable, RuntimeError),
        (exceptions.WebSocketClosed, ConnectionError),
        (exceptions.WebSocketEOF, EOFError),
        (exceptions.ReceiveTimeout, TimeoutError),
        (exceptions.BrokerError, OSError),
        (exceptions.Refused, Exception),
    ],
)
def test_each_is_also_a_builtin_one(cls, builtin):
    assert issubclass(cls, builtin)
    assert f"{cls.__name__} ({builtin.__name__})" in (exceptions.__doc__ or "")


def test_errors_of_the_hub_and_of_sessions_keep_their_import_paths():
    assert hub.BrokerError is _engine.BrokerError is exceptions.BrokerError
    assert session.Refused is exceptions.Refused
    refused = session.Refused("invalid", "why")
    assert (refused.code, refused.message, str(refused)) == ("invalid", "why", "why")


def test_closed_tells_code_and_reason():
    error = exceptions.WebSocketClosed(4000, "why")
    assert (error.code, error.reason) == (4000, "why")
    assert str(error) == "closed with code 4000: why"
    assert str(exceptions.WebSocketClosed()) == "closed with code 1006"


@pytest.mark.parametrize(
    "duplicate", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_closed_survives_copying(duplicate):
    error = duplicate(exceptions.WebSocketClosed(4000, "why"))
    assert (error.code, error.reason) == (4000, "why")


def test_a_handshake_error_tells_status_and_headers():
    error = exceptions.HandshakeError("why", status=426, headers=[("A", "b")])
    assert (error.status, error.headers, str(error)) == (426, (("A", "b"),), "why")
    assert exceptions.HandshakeError("why").status == 400
