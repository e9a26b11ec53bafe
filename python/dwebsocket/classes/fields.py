"""The arguments of methods with ``@on``: what the fields of messages look like."""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dwebsocket.exceptions import ConfigurationError

__all__ = ("fields",)

#: Fields of each message.
_OWN = ("type", "id")

#: An attribute of dataclasses of pydantic.
_OF_PYDANTIC = "__pydantic_validator__"
#: The method of pydantic's models that makes one of JSON.
_READER = "model_validate_json"
#: The modules of what is written beside a type to have pydantic check something.
_CHECKERS = ("pydantic", "annotated_types")
#: The attributes of names of types that have the type.
_NAMED = ("__supertype__", "__value__")


def fields(cls: type[Any], name: str) -> Iterator[tuple[str, Any, bool]]:
    """Yield the arguments of a method: name, annotation, whether it is required.

    Raises:
        ConfigurationError: The method cannot get fields as arguments.
    """
    method = inspect.unwrap(getattr(cls, name))
    where = f"{cls.__qualname__}.{name}()"
    parameters = _parameters(method)
    try:
        hints = _hints(method, parameters)
    except NameError as error:
        raise ConfigurationError(
            f"An annotation of {where} cannot be resolved: {error}."
        ) from error
    variables = _variables(cls, name)
    for parameter in parameters:
        if parameter.kind not in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        ):
            raise ConfigurationError(
                f"{where} gets the fields of messages by their names, and cannot have "
                f"the parameter {parameter}."
            )
        if parameter.name in _OWN:
            raise ConfigurationError(
                f"{where} cannot have a parameter {parameter.name!r}: each message has "
                "a field of this name, for its type or its reply."
            )
        annotation = _filled(hints.get(parameter.name, Any), variables)
        _check(annotation, f"The parameter {parameter.name!r} of {where}")
        yield parameter.name, annotation, parameter.default is parameter.empty


def _parameters(method: Any) -> list[inspect.Parameter]:
    """Return the parameters of a method after ``self``."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(method, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(method)
    return list(signature.parameters.values())[1:]


def _hints(method: Any, parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return the annotations of parameters, resolved.

    Other annotations need not resolve: what a method returns may be of a type that
    only type checkers import.
    """
    given = {
        parameter.name: parameter.annotation
        for parameter in parameters
        if parameter.annotation is not parameter.empty
    }
    some = SimpleNamespace(
        __annotations__=given, __type_params__=getattr(method, "__type_params__", ())
    )
    known = getattr(method, "__globals__", {})
    return get_type_hints(some, known, include_extras=True)


def _variables(cls: type[Any], name: str) -> dict[Any, Any]:
    """Return the types for the type variables of the class that has a method.

    Args:
        cls: That class, or a subclass.
        name: The method's name.
    """
    owner = next(base for base in cls.__mro__ if name in vars(base))
    found: dict[Any, Any] = {}
    while cls is not owner:
        bases = vars(cls).get("__orig_bases__", cls.__bases__)
        base = next(one for one in bases if issubclass(_class_of(one), owner))
        given = [_filled(one, found) for one in get_args(base)]
        cls = _class_of(base)
        found = dict(zip(getattr(cls, "__parameters__", ()), given, strict=False))
    return found


def _class_of(annotation: Any) -> Any:
    """Return the class of an annotation such as ``list[int]``."""
    return get_origin(annotation) or annotation


def _open(annotation: Any) -> tuple[Any, ...]:
    """Return the type variables in an annotation."""
    if isinstance(annotation, TypeVar):
        return (annotation,)
    # A class without an origin is generic itself.
    within = get_origin(annotation) is not None
    return getattr(annotation, "__parameters__", ()) if within else ()


def _filled(annotation: Any, variables: dict[Any, Any]) -> Any:
    """Return an annotation with types in place of type variables."""
    given = tuple(variables.get(one, one) for one in _open(annotation))
    if isinstance(annotation, TypeVar):
        return given[0]
    return annotation[given] if given else annotation


def _check(annotation: Any, what: str) -> None:
    """Make sure that a field can be of a type.

    Raises:
        ConfigurationError: It cannot.
    """
    from msgspec import inspect as types
    from msgspec import json

    for variable in _open(annotation):
        if getattr(variable, "__bound__", None) is None:
            raise ConfigurationError(
                f"{what} is of the type variable {variable}, for which the class has "
                "no type."
            )
    try:
        found = types.type_info(annotation)
        # It also knows enumerations of Django's, which type_info() takes for others.
        json.Decoder(annotation)
    except TypeError as error:
        raise ConfigurationError(f"{what} cannot be read from JSON: {error}.") from None
    annotations = [annotation]
    for one in _within(found, set()):
        cls = _class_of(getattr(one, "cls", None))
        if not isinstance(one, types.CustomType):
            annotations += _annotations_of(cls)
        elif not (isinstance(cls, enum.EnumMeta) or hasattr(cls, _READER)):
            raise ConfigurationError(
                f"{what} is of a type that a message cannot have: {one.cls!r}."
            )
        if isinstance(one, types.DataclassType) and hasattr(cls, _OF_PYDANTIC):
            raise ConfigurationError(
                f"{what} has the dataclass {cls.__qualname__} of pydantic, whose "
                "checks would not be made: write a model (BaseModel), or a dataclass "
                "of Python's."
            )
    unchecked = _unchecked(annotations)
    if unchecked is not None:
        raise ConfigurationError(
            f"{what} has {unchecked!r}, which would not be checked: write "
            "msgspec.Meta, or a model of pydantic (BaseModel)."
        )


def _annotations_of(cls: Any) -> list[Any]:
    """Return the annotations of the fields of a class, as far as they are known."""
    try:
        return list(get_type_hints(cls, include_extras=True).values())
    except (NameError, TypeError):
        return []


def _unchecked(annotations: list[Any]) -> Any:
    """Return what annotations say to pydantic only, or None: msgspec passes over it."""
    seen: list[Any] = []
    left = list(annotations)
    while left:
        annotation = left.pop()
        if any(annotation is one for one in seen):
            continue
        seen.append(annotation)
        for one in getattr(annotation, "__metadata__", ()):
            if any(base.__module__.startswith(_CHECKERS) for base in type(one).__mro__):
                return one
        left += get_args(annotation)
        # What NewType and the statement "type" stand for.
        named = (getattr(annotation, name, None) for name in _NAMED)
        left += [one for one in named if one is not None]
    return None


def _within(found: Any, seen: set[int]) -> Iterator[Any]:
    """Yield msgspec's description of a type, and those of all types within."""
    if id(found) in seen:
        return
    seen.add(id(found))
    yield found
    parts = found if isinstance(found, tuple) else ()
    if type(found).__module__ == "msgspec.inspect":
        parts = tuple(getattr(found, name) for name in found.__struct_fields__)
    for part in parts:
        yield from _within(part, seen)
