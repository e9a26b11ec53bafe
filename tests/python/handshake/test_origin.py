from __future__ import annotations

import pytest
from django.test import RequestFactory, override_settings

from dwebsocket.conf import origins
from dwebsocket.handshake import origin


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
        ("site-1.example", "http://site-1.example", False),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example", False),
        ("example.com.", "https://example.com.", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", False),
        ("[2001:DB8:0::1]", "https://[2001:db8::1]", False),
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
        # What is no origin as browsers write it.
        ("site", "http://evil\\@site", False),
        ("site", "http://x@site", False),
        ("site", "http://x:y@site", False),
        ("site", "http://@site", False),
        ("site", "http://site@", False),
        ("site:0", "http://site:0", False),
        ("site", "http://site:", False),
        ("site", "http://site:080", False),
        ("site", "http://site:65616", False),
        ("site", "http://site:+80", False),
        ("site", "http://site:\u0668\u0660", False),
        ("site", "http://site:*", False),
        ("site", "http://site/", False),
        ("site", "http://site/path", False),
        ("site", "http://site?", False),
        ("site", "http://site#", False),
        ("site", "http:\\\\site", False),
        ("site", "http:/site", False),
        ("site", "http:site", False),
        ("site", "//site", False),
        ("site", "://site", False),
        ("site", " http://site", False),
        ("site", "http://site ", False),
        ("site", "http://site\n", False),
        ("site", "http://si\tte", False),
        ("site", "http://site\x00", False),
        ("site", "http://site http://evil.example", False),
        ("site", "http://evil.example, http://site", False),
        ("site", "http://site,http://site", False),
        ("site", "http://.site", False),
        ("site", "http://site..", False),
        (".", "http://.", False),
        ("site", "http://s%69te", False),
        ("site", "http://*", False),
        ("example.com", "http://*.example.com", False),
        # A dot at the end is another origin, to a browser.
        ("example.com", "http://example.com.", False),
        ("example.com.", "http://example.com", False),
        ("xn--bcher-kva.example", "http://b\xfccher.example", False),
        ("[::1]", "http://::1", False),
        ("[::1]", "http://[::2]", False),
        ("[::1]", "http://[::1", False),
        ("[::1]", "http://[::1]x", False),
        ("[fe80::1]", "http://[fe80::1%25eth0]", False),
        ("1.2.3.4.5", "http://1.2.3.4.5", False),
        ("127.0.0.1", "http://127.1", False),
        ("127.0.0.1", "http://0x7f000001", False),
        ("127.0.0.1", "http://127.0.0.1.", False),
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
        (["https://other.example/"], "https://other.example", True),
        (["https://other.example:8443/"], "https://other.example:8443", True),
        (["HTTPS://Other.Example"], "https://other.example", True),
        (["https://other.example"], "https://x@other.example", False),
        (["https://*.other.example"], "https://x@sub.other.example", False),
        (["https://*.other.example"], "https://*.other.example", False),
        (["https://*.other.example:8443"], "https://sub.other.example:8443", True),
        (["https://*.other.example:8443"], "https://sub.other.example", False),
        (["https://[2001:db8::1]"], "https://[2001:db8:0::1]", True),
        (["nonsense", "https://other.example"], "https://other.example", True),
    ],
)
def test_origins_allowed_beside(patterns, header, expected):
    wanted = request("example.com", header)
    assert origin.allowed(wanted, patterns) is expected
    if patterns not in (["*"], ["app://thing"]) and "nonsense" not in patterns:
        with override_settings(CSRF_TRUSTED_ORIGINS=patterns):
            assert origin.allowed(wanted) is expected


@pytest.mark.parametrize(
    ("patterns", "header", "expected"),
    [
        (["http://localhost:*"], "http://localhost:3000", True),
        (["http://localhost:*"], "http://localhost", True),
        (["http://localhost:*/"], "http://localhost:3000", True),
        (["http://localhost:*"], "https://localhost:3000", False),
        (["http://localhost:*"], "http://localhost.evil.example:3000", False),
        (["http://[::1]:*"], "http://[::1]:5173", True),
        (["https://*.other.example:*"], "https://sub.other.example:9", True),
        (["file://"], "file://", True),
        (["file://"], "null", False),
        (["file://"], "file:///etc/passwd", False),
        (["file://"], "file://host", False),
        (["null"], "null", True),
        (["null"], "file://", False),
        (["null"], "https://null", False),
        ([], "null", False),
        ([], "file://", False),
        (["app://thing"], "app://thing", True),
        (["chrome-extension://abcdef"], "chrome-extension://abcdef", True),
        (["capacitor://localhost"], "capacitor://localhost", True),
        (["app://."], "app://.", True),
        (["app://./"], "app://.", True),
        (["app://."], "app://..", False),
        (["app://."], "other://.", False),
        ([], "app://.", False),
    ],
)
def test_what_this_packages_setting_allows_beside(patterns, header, expected):
    assert not any(map(origins.problem, patterns))
    assert origin.allowed(request("example.com", header), patterns) is expected


@override_settings(CSRF_TRUSTED_ORIGINS=["http://localhost:*"])
def test_a_port_of_djangos_setting_is_no_pattern():
    assert origin.allowed(request("example.com", "http://localhost:3000")) is False


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("example.com", "has no scheme"),
        ("https://example.com/path", "goes on after the host"),
        ("https://example.com?", "goes on after the host"),
        ("https://example.com//", "goes on after the host"),
        ("https://b\xfccher.example", "xn--"),
        ("https://*", "stands for nothing"),
        ("https://ex*mple.com", "stands for nothing"),
        ("https://*example.com", "stands for nothing"),
        ("https://example.*", "stands for nothing"),
        ("https://example.com:80*", "stands for nothing"),
        ("*.example.com", "has no scheme"),
        ("https://example.com:0", "is not an origin"),
        ("https://example.com:port", "is not an origin"),
        ("https://", "is not an origin"),
        ("https://.", "is not an origin"),
        ("https:// example.com", "is not an origin"),
        ("https://me:s3cret@example.com", "no name or password"),
        ("https://*.[::1]", "is not an origin"),
        ("", "has no scheme"),
    ],
)
def test_an_entry_that_can_never_match_is_named(entry, said):
    assert said in origins.problem(entry)
    assert "s3cret" not in origins.problem(entry)
    assert origin.allowed(request("example.com", entry or "x"), [entry]) is False


class TestExplanations:
    """What the answer and the log say of a page that was refused."""

    def explain(self, host, header, secure=False, **meta):
        wanted = request(host, header, secure)
        wanted.META.update(meta)
        assert origin.allowed(wanted) is False
        return origin.explain(wanted)

    def test_name_what_was_compared(self):
        said = self.explain("127.0.0.1:8000", "https://example.com")
        assert "https://example.com" in said
        assert "127.0.0.1:8000 by http" in said
        assert "ALLOWED_ORIGINS" in said
        assert "CSRF_TRUSTED_ORIGINS" in said
        assert "proxy_set_header Host $http_host;" in said

    @pytest.mark.parametrize(
        ("settings", "meta"),
        [
            ({}, {"HTTP_X_FORWARDED_FOR": "1.2.3.4"}),
            ({}, {"HTTP_X_REAL_IP": "1.2.3.4"}),
            ({}, {"HTTP_FORWARDED": "for=1.2.3.4"}),
            ({"ALLOWED_HOSTS": ["127.0.0.1", "example.com"]}, {}),
            ({"ALLOWED_HOSTS": ["127.0.0.1", ".example.com"]}, {}),
        ],
    )
    def test_a_lost_host_is_suspected_first(self, settings, meta):
        with override_settings(**settings):
            said = self.explain("127.0.0.1:8000", "https://example.com", **meta)
        host, add = said.index("$http_host"), said.index("To allow such pages")
        assert host < add
        assert "SECURE_PROXY_SSL_HEADER" in said

    def test_another_sites_page_is_not_put_down_to_the_proxy(self):
        said = self.explain("example.com", "https://app.example.net:8443")
        assert said.index("To allow such pages") < said.index("$http_host")
        assert "'https://app.example.net:8443'" in said

    def test_a_forwarded_host_that_django_does_not_read(self):
        meta = {"HTTP_X_FORWARDED_HOST": "example.com"}
        said = self.explain("127.0.0.1:8000", "https://example.com", **meta)
        assert "USE_X_FORWARDED_HOST" in said
        with override_settings(USE_X_FORWARDED_HOST=True):
            wanted = request("127.0.0.1:8000", "https://example.com")
            wanted.META.update(meta)
            assert origin.allowed(wanted) is True

    def test_a_port_that_was_dropped(self):
        said = self.explain("example.com", "https://example.com:8443")
        assert "Only the port differs" in said
        assert "$http_host" in said

    def test_http_on_a_secure_site(self):
        said = self.explain("example.com", "http://example.com", secure=True)
        assert "example.com by https" in said
        assert "SECURE_PROXY_SSL_HEADER" in said

    @override_settings(ALLOWED_HOSTS=["example.com"])
    def test_a_host_that_django_refuses(self):
        said = self.explain("127.0.0.1:8000", "https://example.com")
        assert "127.0.0.1:8000, which ALLOWED_HOSTS does not allow" in said
        assert "$http_host" in said

    @pytest.mark.parametrize(
        ("host", "header"),
        [
            ("127.0.0.1:8000", "http://localhost:8000"),
            ("localhost:8000", "http://127.0.0.1:8000"),
            ("localhost:8000", "http://[::1]:8000"),
            ("127.0.0.1:8000", "http://0.0.0.0:8000"),
            ("127.0.0.1", "http://localhost"),
        ],
    )
    @pytest.mark.parametrize("hosts", [[], ["localhost", "127.0.0.1", "[::1]"]])
    def test_two_names_of_this_computer(self, host, header, hosts):
        with override_settings(ALLOWED_HOSTS=hosts, DEBUG=True):
            said = self.explain(host, header)
        assert "are two sites" in said
        assert "location.host" in said
        assert "$http_host" not in said

    @pytest.mark.parametrize(
        ("host", "header", "meta"),
        [
            ("127.0.0.1:8000", "http://localhost:5173", {}),
            ("127.0.0.1:8000", "http://example.com:8000", {}),
            ("127.0.0.1:8000", "http://localhost:8000", {"HTTP_X_REAL_IP": "::1"}),
        ],
    )
    def test_other_names_and_ports_are_not_taken_for_these(self, host, header, meta):
        said = self.explain(host, header, **meta)
        assert "are two sites" not in said
        assert f"add {header!r} to" in said

    def test_a_page_that_was_opened_as_a_file(self):
        said = self.explain("127.0.0.1:8000", "null")
        assert "opened as a file" in said
        assert said.index("open the page by http") < said.index("add 'null'")

    @pytest.mark.parametrize("header", ["null", "file://"])
    def test_pages_without_a_host(self, header):
        said = self.explain("example.com", header)
        assert f"add {header!r} to DWEBSOCKET['ALLOWED_ORIGINS']" in said
        assert "proxy_set_header" not in said

    @pytest.mark.parametrize(
        "header",
        ["", "http://x@site", "\x1b[31mred", "line\nbreak", "\xfc", "x" * 10_000],
    )
    def test_what_is_no_origin_is_shown_and_harmless(self, header):
        said = self.explain("site", header)
        assert "is not an origin" in said
        assert said.isprintable()
        assert len(said) < 1000


@override_settings(ALLOWED_HOSTS=["example.com"])
def test_a_host_that_django_refuses_is_nobodys_own():
    assert origin.allowed(request("evil.example", "http://evil.example")) is False


@override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"))
def test_a_proxy_that_speaks_of_its_tls_is_believed():
    wanted = request("example.com", "http://example.com")
    wanted.META["HTTP_X_FORWARDED_PROTO"] = "https"
    assert origin.allowed(wanted) is False
