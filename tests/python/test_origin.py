from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from dwebsocket import origin


def request(host: str, header: str | None, secure: bool = False):
    extra = {} if header is None else {"HTTP_ORIGIN": header}
    return RequestFactory().get("/", HTTP_HOST=host, secure=secure, **extra)


@pytest.mark.parametrize(
    ("host", "header", "secure"),
    [
        ("example.com", None, False),
        ("example.com", "http://example.com", False),
        ("example.com", "http://example.com:80", False),
        ("example.com:80", "http://example.com", False),
        ("example.com", "HTTP://EXAMPLE.com", False),
        ("localhost:8000", "http://localhost:8000", False),
        ("[::1]:8000", "http://[::1]:8000", False),
        # TLS was taken off by a proxy that does not say so.
        ("example.com", "https://example.com", False),
        ("example.com:443", "https://example.com", False),
        ("example.com:8443", "https://example.com:8443", False),
        ("example.com", "https://example.com", True),
        ("example.com:8443", "https://example.com:8443", True),
    ],
)
def test_the_sites_own_pages_may(host, header, secure):
    assert origin.allowed(request(host, header, secure)) is True


@pytest.mark.parametrize(
    ("host", "header", "secure"),
    [
        ("example.com", "http://evil.example", False),
        ("example.com", "http://example.com.evil.example", False),
        ("example.com", "http://sub.example.com", False),
        ("example.com", "http://example.com:8080", False),
        ("example.com:8080", "http://example.com", False),
        ("example.com", "http://example.com", True),
        ("example.com", "null", False),
        ("example.com", "", False),
        ("example.com", "example.com", False),
        ("example.com", "http://", False),
        ("example.com", "http://example.com:port", False),
        ("example.com", "http://[", False),
        ("example.com", "ftp://example.com", False),
        ("example.com", "chrome-extension://example.com", False),
    ],
)
def test_other_pages_may_not(host, header, secure):
    assert origin.allowed(request(host, header, secure)) is False


@pytest.mark.parametrize(
    ("patterns", "header", "expected"),
    [
        (["*"], "null", True),
        (["https://other.example"], "https://other.example", True),
        (["https://other.example"], "https://other.example:443", True),
        (["https://other.example"], "http://other.example", False),
        (["https://other.example"], "https://sub.other.example", False),
        (["https://other.example:8443"], "https://other.example:8443", True),
        (["https://other.example:8443"], "https://other.example", False),
        (["https://*.other.example"], "https://sub.other.example", True),
        (["https://*.other.example"], "https://a.b.other.example", True),
        (["https://*.other.example"], "https://another.example", False),
        (["https://*.other.example"], "https://evilother.example", False),
        (["app://thing"], "app://thing", True),
        (["nonsense", "https://other.example"], "https://other.example", True),
    ],
)
def test_origins_allowed_beside(patterns, header, expected):
    wanted = request("example.com", header)
    assert origin.allowed(wanted, patterns) is expected
    if patterns not in (["*"], ["app://thing"]) and "nonsense" not in patterns:
        with override_settings(CSRF_TRUSTED_ORIGINS=patterns):
            assert origin.allowed(wanted) is expected


@override_settings(ALLOWED_HOSTS=["example.com"])
def test_a_host_that_django_refuses_is_nobodys_own():
    assert origin.allowed(request("evil.example", "http://evil.example")) is False


@override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
def test_a_proxy_that_speaks_of_its_tls_is_believed():
    wanted = request("example.com", "http://example.com")
    wanted.META["HTTP_X_FORWARDED_PROTO"] = "https"
    assert origin.allowed(wanted) is False
