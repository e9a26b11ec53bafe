from __future__ import annotations

import sys
import traceback
from types import SimpleNamespace

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from django.views.debug import ExceptionReporter

from dwebsocket import ConfigurationError, _engine, checks, conf, websocket
from dwebsocket.conf import values
from dwebsocket.hub import connecting


def test_defaults_are_acceptable_to_themselves_and_to_the_engine():
    assert conf.problems(conf.DEFAULTS) == []
    profile = conf.profile("classic")
    assert isinstance(profile.options, _engine.Options)
    assert (profile.modern, profile.overflow) == (False, "auto")


@override_settings(DWEBSOCKET={"MAX_MESSAGE_SIZE": 10})
def test_a_value_given_goes_before_the_default():
    assert conf.settings.MAX_MESSAGE_SIZE == 10
    assert conf.settings.PING_INTERVAL == 20.0


def test_settings_follow_override_settings():
    assert conf.settings.SHUTDOWN_TIMEOUT == 5.0
    with override_settings(DWEBSOCKET={"SHUTDOWN_TIMEOUT": 1}):
        assert conf.settings.SHUTDOWN_TIMEOUT == 1
    assert conf.settings.SHUTDOWN_TIMEOUT == 5.0


def test_profiles_follow_override_settings():
    assert conf.profile("classic").overflow == "auto"
    with override_settings(DWEBSOCKET={"OVERFLOW": "block"}):
        assert conf.profile("classic").overflow == "block"
    assert conf.profile("classic").overflow == "auto"


def test_a_change_of_another_setting_keeps_the_profiles():
    profile = conf.profile("classic")
    with override_settings(TIME_ZONE="UTC"):
        assert conf.profile("classic") is profile


def test_old_names_go_on_working():
    with override_settings(WEBSOCKET_ACCEPT_ALL=True):
        assert conf.settings.ACCEPT_ALL is True
    with override_settings(WEBSOCKET_FACTORY_CLASS="a.B"):
        assert conf.settings.FACTORY_CLASS == "a.B"
    with override_settings(WEBSOCKET_ACCEPT_ALL=True, DWEBSOCKET={"ACCEPT_ALL": False}):
        assert conf.settings.ACCEPT_ALL is False


@override_settings(DWEBSOCKET={"PING_INTERVALL": 5})
def test_an_unknown_key_is_named_with_its_nearest_neighbour():
    with pytest.raises(ConfigurationError, match="PING_INTERVALL.*'PING_INTERVAL'"):
        _ = conf.settings.PING_INTERVAL


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DIALECT", "latin"),
        ("ALLOWED_ORIGINS", "https://example.com"),
        ("ALLOWED_ORIGINS", [1]),
        ("ALLOWED_ORIGINS", ["app.example.com"]),
        ("MAX_MESSAGE_SIZE", 0),
        ("MAX_MESSAGE_SIZE", "1"),
        ("MAX_MESSAGE_SIZE", True),
        ("MAX_CONNECTIONS", 0),
        ("PING_INTERVAL", 0),
        ("PING_INTERVAL", float("nan")),
        ("PING_TIMEOUT", None),
        ("SEND_TIMEOUT", -1),
        ("OVERFLOW", "explode"),
        ("COMPRESSION", "zip"),
        ("COMPRESSION_THRESHOLD", -1),
        ("COMPRESSION_LEVEL", 10),
        ("SHUTDOWN_SPREAD", -1),
        ("SHUTDOWN_SPREAD", "long"),
        ("SHUTDOWN_TIMEOUT", -1),
        ("THREAD_STACK_SIZE", 1024),
        ("THREAD_STACK_SIZE", 2**64),
        ("ACCEPT_ALL", 1),
        ("FACTORY_CLASS", "Factory"),
        ("SERVERS", "path"),
    ],
)
def test_an_unacceptable_value_is_named(key, value):
    [(name, message)] = conf.problems({key: value})
    assert name == key
    assert key in message
    assert repr(value) in message


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "ALLOWED_ORIGINS",
            "*",
            "DWEBSOCKET['ALLOWED_ORIGINS'] must be a list of origins, such as "
            "['https://example.com'] or ['*'], not '*'.",
        ),
        (
            "GROUPS",
            {"chat": {"HISTORY": 1}},
            "DWEBSOCKET['GROUPS']['chat'] has no option 'HISTORY'. "
            "Did you mean 'history'?",
        ),
    ],
)
def test_what_is_meant_is_said(key, value, message):
    assert conf.problems({key: value}) == [(key, message)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DIALECT", None),
        ("ALLOWED_ORIGINS", ("*",)),
        ("PING_INTERVAL", None),
        ("MAX_CONNECTIONS", None),
        ("COMPRESSION", False),
        ("COMPRESSION", "dedicated"),
        ("SHUTDOWN_SPREAD", 0),
        ("SHUTDOWN_TIMEOUT", 0),
        ("THREAD_STACK_SIZE", 0),
    ],
)
def test_an_acceptable_value_is_accepted(key, value):
    assert conf.problems({key: value}) == []


def test_a_setting_that_is_no_dict_is_refused():
    assert conf.problems([])[0][1] == "DWEBSOCKET must be a dict, not list."


def test_there_is_no_attribute_that_is_no_setting():
    with pytest.raises(AttributeError):
        _ = conf.Settings().NO_SUCH
    fresh = conf.Settings()
    assert fresh.ACCEPT_ALL is False
    with pytest.raises(AttributeError):
        _ = fresh.NO_SUCH


@pytest.mark.parametrize(
    ("decorator", "project", "argument", "modern"),
    [
        ("classic", None, None, False),
        ("modern", None, None, True),
        ("classic", "modern", None, True),
        ("modern", "classic", None, False),
        ("classic", "classic", "modern", True),
        ("modern", "modern", "classic", False),
    ],
)
def test_the_dialect(decorator, project, argument, modern):
    overrides = conf.check_overrides({"dialect": argument} if argument else {})
    with override_settings(DWEBSOCKET={"DIALECT": project}):
        assert conf.profile(decorator, overrides).modern is modern


@pytest.mark.parametrize("number", [sys.maxsize, 2**64, 10**400])
def test_a_number_beyond_all_counting_is_no_limit(site, number):
    @websocket
    def echo(request):
        for message in request.websocket:
            request.websocket.send(message)

    counts = {
        name: number
        for name, key in conf.KEYS.items()
        if key.engine and type(key.default) is int and name != "COMPRESSION_LEVEL"
    }
    assert len(counts) >= 7
    settings = {**counts, "MAX_CONNECTIONS": number, "MAX_FRAME_SIZE": number}
    live = site({"ws": echo}, DWEBSOCKET=settings)
    with live.connect("ws") as connection:
        connection.send(["frag", "ments" * 100])
        assert connection.recv(10) == "frag" + "ments" * 100


def test_overrides_go_before_the_settings():
    overrides = conf.check_overrides(
        {
            "overflow": "block",
            "send_timeout": 2,
            "allowed_origins": ["https://a.example"],
        }
    )
    with override_settings(DWEBSOCKET={"OVERFLOW": "close", "SEND_TIMEOUT": 9}):
        profile = conf.profile("classic", overrides)
    assert profile.overflow == "block"
    assert profile.send_timeout == 2.0
    assert profile.allowed_origins == ("https://a.example",)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"max_mesage_size": 1}, "no argument 'max_mesage_size'.*'max_message_size'"),
        ({"max_message_size": 0}, "max_message_size must be"),
        (
            {"max_connections": 1},
            "no argument 'max_connections'. DWEBSOCKET.*all views",
        ),
        ({"MAX_MESSAGE_SIZE": 1}, "no argument 'MAX_MESSAGE_SIZE'.*'max_message_size'"),
        ({"Origins": []}, "no argument 'Origins'.*'allowed_origins'"),
        ({"xyzzy": 1}, "There is no argument 'xyzzy'.$"),
        ({"subprotocol": []}, "There is no argument 'subprotocol'.$"),
    ],
)
def test_wrong_overrides_are_named(overrides, message):
    with pytest.raises(ConfigurationError, match=message):
        conf.check_overrides(overrides)


@pytest.mark.parametrize(
    ("given", "engine"),
    [(True, "shared"), (False, "off"), ("dedicated", "dedicated"), ("off", "off")],
)
def test_compression_may_be_a_bool(monkeypatch, given, engine):
    seen: dict[str, object] = {}
    fake = SimpleNamespace(Options=lambda **options: seen.update(options))
    monkeypatch.setattr(values, "_engine", fake)
    conf.settings.forget()
    conf.profile("classic", conf.check_overrides({"compression": given}))
    conf.settings.forget()
    assert seen["compression"] == engine
    assert seen["text_as_bytes"] is True
    assert seen["validate_utf8"] is False


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([], "must be a dict, not list"),
        ({"": {}}, "name"),
        ({5: {}}, "name"),
        ({"chat.*": 5}, r"\['chat\.\*'\] must be a dict, not int"),
        ({"chat.*": {"histroy": 5}}, r"\['chat\.\*'\].*'histroy'.*'history'"),
        ({"a": {"history": -1}}, r"\['a'\]\['history'\] must be a whole number"),
        ({"a": {"history": True}}, r"\['a'\]\['history'\]"),
        ({"a": {"ttl": 0}}, r"\['a'\]\['ttl'\] must be a number of seconds"),
        ({"a": {"presence": 1}}, r"\['a'\]\['presence'\] must be a bool"),
    ],
)
def test_what_is_wrong_with_a_group_is_named_to_the_option(groups, words):
    with (
        override_settings(DWEBSOCKET={"GROUPS": groups}),
        pytest.raises(ConfigurationError, match=words),
    ):
        _ = conf.settings.GROUPS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BROKER", "localhost"),
        ("BROKER", 5),
        ("BROKER_PREFIX", ""),
        ("BROKER_PREFIX", "a b"),
        ("BROKER_PREFIX", None),
        ("BROKER_TIMEOUT", 0),
        ("TRACK_USERS", "no"),
    ],
)
def test_a_bad_value_of_the_hub_is_named(key, value):
    ((name, message),) = conf.problems({key: value})
    assert name == key
    assert f"DWEBSOCKET[{key!r}]" in message


SECRETS = [
    "s3cret",
    "me:s3cret@localhost",
    ":s3cret@localhost:6379",
    "redis:/:s3cret@localhost",
    "redis:me:s3cret@localhost",
    b"redis://:s3cret@localhost",
    ["redis://:s3cret@localhost"],
    {"url": "redis://:s3cret@localhost"},
    ("nats://s3cret@localhost",),
]


@pytest.mark.parametrize("value", SECRETS, ids=repr)
def test_a_broker_that_is_not_acceptable_is_not_shown(value):
    ((name, message),) = conf.problems({"BROKER": value})
    assert name == "BROKER"
    assert "must be None or a URL" in message
    with override_settings(DWEBSOCKET={"BROKER": value}):
        with pytest.raises(ConfigurationError, match="must be None or a URL") as caught:
            assert conf.settings.BROKER
        found = [check.msg for check in checks.check_settings()]
        assert found
        # As in the mail to the ADMINS.
        report = ExceptionReporter(None, caught.type, caught.value, caught.tb)
        with override_settings(DEBUG=False, DWEBSOCKET={}):
            frames = report.get_traceback_frames()
    ours = [
        frame["vars"]
        for frame in frames
        if "/dwebsocket/conf/values.py" in frame["filename"]
    ]
    assert ours
    assert "s3cret" not in repr([message, str(caught.value), found, ours])


@pytest.mark.parametrize("key", ["BROKER_PREFIX", "BROKER_TIMEOUT", "SERVERS", "CHAT"])
def test_a_broker_in_the_wrong_place_is_not_shown(key):
    ((name, message),) = conf.problems({key: "redis://:s3cret@localhost"})
    assert name == key
    assert "must be" in message
    assert "s3cret" not in message


@pytest.mark.django_db  # The checks of Django 6.1 ask the database.
@pytest.mark.parametrize(
    "key", ["CONTEXT_HOOKS", "SERVERS", "TENANT", "GROUPS", "CHAT"]
)
def test_nor_is_one_that_is_deeper_in_the_wrong_place(key):
    url = "redis://:s3cret@localhost.example"
    values = {
        "TENANT": [url],
        "GROUPS": [{"a": {"ttl": url}}, {"a": {url: 1}}, {url: 1}],
        "CHAT": [{"ROOMS": [url]}, {"PERMISSIONS": url}, {url: 1}],
    }
    for value in values.get(key, [[url]]):
        with override_settings(DWEBSOCKET={key: value}):
            found = [check.msg for check in run_checks()]
        assert found
        assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3cret@localhost",
        "redis://:s3cret@localhost:port",
        "redis://:s3cret@localhost:6379/zero",
        "redis://:s3/cret@localhost",
        "redis://me:12#s3cret@localhost",
        "rediss://me:s3cret@",
        "unix:///x?pass=s3cret&db=zero",
        "nats://me:s3cret@localhost:port",
        "nats://me:s3cret@a,b:x",
        "nats://me:12,s3cret@a",
        "nats://a?s3cret=1",
        ":s3cret@localhost://",
    ],
)
def test_a_broker_that_cannot_be_used_is_not_shown(url, monkeypatch):
    monkeypatch.setattr(connecting, "_connected_in", None)
    with (
        override_settings(DWEBSOCKET={"BROKER": url}),
        pytest.raises(ConfigurationError, match=r"DWEBSOCKET\['BROKER'\]") as caught,
    ):
        connecting.connect()
    text = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in text.replace(url, "")
    assert "cret" not in str(caught.value)
