"""dwebsocket.decorating and .pushing: the types agree with what is called."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from dwebsocket import decorating, decorators, push, pushing


def overloads(module, name):
    """Return the parameters of each overload of a type, as (name, default) pairs."""
    tree = ast.parse(Path(module.__file__).read_text())
    (kind,) = (
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return [item.args for item in kind.body if isinstance(item, ast.FunctionDef)]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("ToGroup", push.to_group),
        ("ToUser", push.to_user),
        ("ToAll", push.to_all),
        ("Disconnect", push.disconnect),
        ("ToGroup", push.ato_group),
        ("ToUser", push.ato_user),
        ("ToAll", push.ato_all),
        ("Disconnect", push.adisconnect),
    ],
)
def test_pushes_take_what_their_types_say(name, function):
    parameters = inspect.signature(function).parameters.values()
    named = {
        one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY
    }
    placed = [one for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    found = overloads(pushing, name)
    assert len(found) == 3
    for args in found:
        assert [arg.arg for arg in args.args[1:]] == [one.name for one in placed]
        defaults = [ast.literal_eval(one) for one in args.defaults]
        assert defaults == [
            one.default for one in placed if one.default is not one.empty
        ]
        assert {arg.arg for arg in args.kwonlyargs} == set(named)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            if default is not None:
                assert ast.literal_eval(default) == named[arg.arg]


@pytest.mark.parametrize("name", ["ModernDecorator", "ClassicDecorator"])
@pytest.mark.parametrize(
    "function",
    [decorators.websocket, decorators.accept_websocket, decorators.require_websocket],
)
def test_decorators_take_what_their_types_say(name, function):
    parameters = inspect.signature(function).parameters
    assert list(parameters) == ["view", "subprotocols", "accept", "overrides"]
    with_arguments = [args for args in overloads(decorating, name) if args.kwonlyargs]
    assert len(with_arguments) == 2
    for args in with_arguments:
        named = [arg.arg for arg in args.kwonlyargs]
        assert named == ["dialect", "subprotocols", "accept"]
        assert args.kwarg is not None
        assert ast.unparse(args.kwarg.annotation) == "Unpack[ViewOptions]"


def test_both_dialects_have_the_same_overloads():
    modern = overloads(decorating, "ModernDecorator")
    classic = overloads(decorating, "ClassicDecorator")
    assert [[arg.arg for arg in one.kwonlyargs] for one in modern] == [
        [arg.arg for arg in one.kwonlyargs] for one in classic
    ]
