"""Everything that Python and Django do to a peer's value by recursion, in one thread.

Run with the interpreter to try: ``python recursions.py <stack size>``. It prints each
action before it is done, so that the last line tells which one has crashed, and needs
nothing of this package.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import copy
import gc
import json
import logging
import marshal
import pickle
import pprint
import sys
import threading
import traceback
from typing import Any

#: Around Python's own limits (1,000 frames; 10,000 levels of C in 3.12 and 3.13).
DEPTHS = (950, 4900, 9900, 9985)


def nested(make: Any, depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = make(value, level)
    return value


def as_dict(value: Any, level: int) -> Any:
    return {"a": value}


def as_list(value: Any, level: int) -> Any:
    return [value]


def as_both(value: Any, level: int) -> Any:
    return {"a": value} if level % 2 else [value]


def as_ordered(value: Any, level: int) -> Any:
    return collections.OrderedDict(a=value)


def as_user(value: Any, level: int) -> Any:
    return collections.UserDict(a=value)


def as_object(value: Any, level: int) -> Any:
    return {"a": Holder(value)}


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holder) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


SHAPES = (as_dict, as_list, as_both, as_ordered, as_user, as_object)


def log(value: Any) -> None:
    record = logging.LogRecord("x", 10, "f", 1, "%r %s", (value, value), None)
    record.getMessage()


def report(value: Any) -> None:
    """Do as Django does for DEBUG pages and for mails to ADMINS."""
    from django.test import RequestFactory
    from django.views.debug import ExceptionReporter

    request = RequestFactory().get("/")
    inside, deeper = Holder(value), [value]
    try:
        raise ValueError(value, inside, deeper)
    except ValueError:
        reporter = ExceptionReporter(request, *sys.exc_info())
        reporter.get_traceback_text()
        reporter.get_traceback_html()


def with_locals(value: Any) -> None:
    try:
        raise ValueError(value)
    except ValueError as error:
        traceback.TracebackException.from_exception(error, capture_locals=True)
        traceback.format_exc()


def render(value: Any) -> None:
    from django.template import Context, Engine

    source = "{{ v }}{{ v|pprint }}{{ v|json_script:'x' }}{{ v|escape }}"
    Engine().from_string(source).render(Context({"v": value}))


def django_json(value: Any) -> None:
    from django.core.serializers.json import DjangoJSONEncoder

    json.dumps(value, cls=DjangoJSONEncoder)


def sign(value: Any) -> None:
    from django.core import signing

    signing.loads(signing.dumps(value))


ACTIONS: dict[str, Any] = {
    "json.dumps": json.dumps,
    "json.dumps, sorted": lambda value: json.dumps(value, sort_keys=True),
    "json.dumps, indented": lambda value: json.dumps(value, indent=1),
    "json.dumps, default": lambda value: json.dumps(value, default=vars),
    "DjangoJSONEncoder": django_json,
    "signing": sign,
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "pickle, in Python": lambda value: pickle._dumps(value),  # type: ignore[attr-defined]
    "marshal": lambda value: marshal.loads(marshal.dumps(value)),
    "deepcopy": copy.deepcopy,
    "pprint": pprint.pformat,
    "==": lambda value: value == copy.copy(value),
    "<": lambda value: value < value,
    "log": log,
    "traceback": with_locals,
    "ExceptionReporter": report,
    "template": render,
    "gc": lambda value: gc.collect(),
}

#: Of an OrderedDict, these take minutes, and what they recurse in is tried with others.
SLOW = ("pprint", "ExceptionReporter", "template")

#: Of a depth alone.
TEXTS: dict[str, Any] = {
    "json.loads, dicts": lambda n: json.loads('{"a":' * n + "1" + "}" * n),
    "json.loads, lists": lambda n: json.loads("[" * n + "]" * n),
    "json.loads, open": lambda n: json.loads('[{"a":' * n),
    "json.loads, hook": lambda n: json.loads(
        '{"a":' * n + "1" + "}" * n, object_hook=Holder
    ),
    "json.loads, pairs": lambda n: json.loads(
        '{"a":' * n + "1" + "}" * n, object_pairs_hook=collections.OrderedDict
    ),
    "==, two of a kind": lambda n: nested(as_dict, n) == nested(as_dict, n),
    "==, two objects": lambda n: nested(as_object, n) == nested(as_object, n),
    "hash": lambda n: hash(nested(lambda value, level: (value,), min(n, 10_000))),
    "literal_eval": lambda n: ast.literal_eval("-" * n + "1"),
    "literal_eval, lists": lambda n: ast.literal_eval("[" * n + "]" * n),
}

#: What Python raises instead of crashing.
FINE = (
    RecursionError,
    MemoryError,
    ValueError,
    TypeError,
    SyntaxError,
    AttributeError,
    pickle.PicklingError,
)


def try_all() -> None:
    for name, text in TEXTS.items():
        print(name, flush=True)
        for depth in DEPTHS:
            with contextlib.suppress(*FINE):
                text(depth)
    for name, action in ACTIONS.items():
        for shape in SHAPES:
            if shape is as_ordered and name in SLOW:
                continue
            print(name, shape.__name__, flush=True)
            for depth in DEPTHS:
                with contextlib.suppress(*FINE):
                    action(nested(shape, depth))
    print("survived", flush=True)


def main() -> None:
    import django
    from django.conf import settings

    settings.configure(SECRET_KEY="for a test", ALLOWED_HOSTS=["*"])
    django.setup()
    threading.stack_size(int(sys.argv[1]))
    thread = threading.Thread(target=try_all)
    thread.start()
    thread.join()


if __name__ == "__main__":
    main()
