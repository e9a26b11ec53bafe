"""The names of users."""

from __future__ import annotations

from types import SimpleNamespace

from django.db import DatabaseError
from django.test import override_settings

from dwebsocket.contrib.monitor import users
from dwebsocket.contrib.monitor.users import Names, keys_of

from .conftest import user


def tenant() -> str:
    return "acme"


def test_users_by_name() -> None:
    li, lia = user("li"), user("LIA")
    user("jo")
    assert sorted(keys_of("Li")) == sorted([str(li.pk), str(lia.pk)])
    assert keys_of("") == ()
    assert keys_of("%") == ()


def test_a_name_is_found_among_many_others(monkeypatch) -> None:
    monkeypatch.setattr(users, "FOUND", 2)
    for name in ("amara", "amaria", "amarta"):
        user(name)
    mar = user("mar")
    assert str(mar.pk) in keys_of("MAR")
    assert len(keys_of("mar")) <= 3
    assert len(keys_of("amart")) == 1


def test_names_by_key() -> None:
    li = user("li")
    names = Names()
    assert names.of([str(li.pk), "999", "nonsense"]) == {str(li.pk): "li"}
    assert names.of([]) == {}


def test_names_are_read_once(django_assert_num_queries) -> None:
    keys = [str(user(name).pk) for name in ("a", "b")]
    names = Names()
    with django_assert_num_queries(1):
        for _ in range(3):
            assert len(names.of([*keys, "999"])) == 2


def test_a_page_remembers_not_too_many(monkeypatch) -> None:
    monkeypatch.setattr(users, "KNOWN", 2)
    keys = [str(user(name).pk) for name in "abc"]
    names = Names()
    for key in keys:
        assert names.of([key])
    assert len(names._known) <= 2


@override_settings(DWEBSOCKET={"TENANT": f"{__name__}.tenant"})
def test_users_of_another_tenant_have_no_name_here() -> None:
    li = user("li")
    own = f"~4:acme:{li.pk}"
    assert keys_of("li") == (own,)
    other = f"~5:other:{li.pk}"
    assert Names().of([own, other, str(li.pk)]) == {own: "li"}


def test_without_the_database_there_are_no_names(monkeypatch, caplog) -> None:
    class Away:
        def filter(self, **wanted: object) -> object:
            raise DatabaseError("away")

    real = users.get_user_model()
    model = SimpleNamespace(
        USERNAME_FIELD="username", _meta=real._meta, _default_manager=Away()
    )
    li = user("li")
    names = Names()
    with monkeypatch.context() as patch:
        patch.setattr(users, "get_user_model", lambda: model)
        assert keys_of("li") == ()
        assert names.of([str(li.pk)]) == {}
    assert "names of users cannot be read" in caplog.text
    assert names.of([str(li.pk)]) == {str(li.pk): "li"}
