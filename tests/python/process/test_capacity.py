from __future__ import annotations

import os
import resource

import pytest

from dwebsocket import _engine
from dwebsocket.process import capacity
from dwebsocket.process.capacity import Pool


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forget what was found out before."""
    monkeypatch.setattr(capacity, "_known", (0, 0.0, 0))
    monkeypatch.setattr(_engine, "connection_count", lambda: 10)


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Return a function that lays out what the kernel says of cgroups."""

    def lay_out(membership, **pools):
        monkeypatch.setattr(capacity, "_CGROUPS", tmp_path)
        read = capacity._read
        monkeypatch.setattr(
            capacity,
            "_read",
            lambda path: membership if path == "/proc/self/cgroup" else read(path),
        )
        monkeypatch.setattr(
            resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2
        )
        for directory, (most, used) in pools.items():
            place = tmp_path / directory.replace("__", "/").strip("/")
            place.mkdir(parents=True, exist_ok=True)
            (place / "pids.max").write_text(f"{most}\n")
            (place / "pids.current").write_text(f"{used}\n")

    return lay_out


class TestViews:
    @pytest.fixture(autouse=True)
    def no_spare_threads(self, monkeypatch):
        monkeypatch.setattr(capacity, "_spare", int)

    def test_count_threads_that_wait_for_a_view_as_free(self, monkeypatch):
        monkeypatch.setattr(capacity, "pools", lambda: iter([Pool(100, 30)]))
        capacity.count_spare(lambda: 7)
        assert capacity.views() == 55 + 7

    @pytest.mark.parametrize(
        ("pools", "expected"),
        [
            ([], capacity.UNLIMITED),
            # A quarter is left, and what others use: 30 threads, 10 of them views.
            ([Pool(100, 30)], 100 - 25 - 20),
            # No more than 256 are left.
            ([Pool(30_000, 30)], 30_000 - 256 - 20),
            # The tightest of all.
            ([Pool(1000, 30), Pool(100, 30), Pool(500, 30)], 55),
            ([Pool(20, 30)], 0),
        ],
    )
    def test_leave_threads_for_the_server(self, monkeypatch, pools, expected):
        monkeypatch.setattr(capacity, "pools", lambda: iter(pools))
        assert capacity.views() == expected

    def test_are_counted_once_in_a_while(self, monkeypatch):
        asked = []

        def pools():
            asked.append(1)
            yield Pool(100, 30)

        monkeypatch.setattr(capacity, "pools", pools)
        assert {capacity.views() for _ in range(50)} == {55}
        assert len(asked) == 1
        # The child of a fork is another process.
        monkeypatch.setattr(os, "getpid", lambda: -1)
        capacity.views()
        assert len(asked) == 2

    def test_are_not_limited_where_they_are_greenlets(self, monkeypatch):
        monkeypatch.setattr(capacity, "pools", lambda: iter([Pool(20, 30)]))
        monkeypatch.setattr(capacity, "is_patched", lambda: True)
        assert capacity.views() == capacity.UNLIMITED

    def test_limit_connections(self, monkeypatch):
        monkeypatch.setattr(capacity, "pools", lambda: iter([Pool(100, 30)]))
        monkeypatch.setattr(capacity.resource, "getrlimit", lambda which: (1000, 2000))
        assert capacity.connections() == 55


class TestPools:
    def test_of_version_2(self, system):
        system("0::/a/b\n", a__b=(70, 5), a=("max", 9), **{"": (90, 12)})
        assert set(capacity.pools()) == {Pool(70, 5), Pool(90, 12)}

    def test_of_version_1(self, system):
        system(
            "9:name=systemd:/x\n8:pids:/docker/1\n0::/\n",
            pids__docker__1=(50, 7),
            pids=("max", 900),
        )
        assert list(capacity.pools()) == [Pool(50, 7)]

    def test_of_a_container_that_sees_the_hosts_path(self, system):
        system("8:cpu,pids:/docker/1\n", pids=(50, 7))
        assert list(capacity.pools()) == [Pool(50, 7)]

    def test_of_a_system_without(self, system):
        system("")
        assert list(capacity.pools()) == []

    def test_of_a_user(self, monkeypatch, system):
        system("")
        monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
        monkeypatch.setattr(capacity, "_is_limited", lambda: True)
        [pool] = capacity.pools()
        assert pool.most == 100
        assert pool.used >= len(os.listdir("/proc/self/task"))
        monkeypatch.setattr(capacity, "_is_limited", lambda: False)
        assert list(capacity.pools()) == []

    @pytest.mark.parametrize(
        ("user", "namespace", "capabilities", "expected"),
        [
            (0, "0 0 4294967295", "0", False),
            (1000, "0 0 4294967295", "0", True),
            (1000, "0 0 4294967295", "1000000", False),
            (1000, "0 0 4294967295", "200000", False),
            (0, "0 1000 1", "3fffffffff", True),
        ],
    )
    def test_hold_whom_the_kernel_holds_to_them(
        self, monkeypatch, user, namespace, capabilities, expected
    ):
        texts = {
            "/proc/self/uid_map": namespace,
            "/proc/self/status": f"Name:\tx\nCapEff:\t{capabilities}\n",
        }
        monkeypatch.setattr(capacity, "_read", texts.__getitem__)
        monkeypatch.setattr(os, "getuid", lambda: user)
        assert capacity._is_limited() is expected


def test_a_process_without_descriptors_does_not_fail_here(monkeypatch):
    def listdir(path):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "listdir", listdir)
    assert capacity._threads_of_user() == 0
