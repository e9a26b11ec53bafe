"""tools/commit-msg.sh, as a hook of git and over the commits of a history."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "commit-msg.sh"
GIT = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org"]

GOOD = [
    "fix: answer 501 instead of failing where uWSGI has no threads",
    "feat(hub)!: let a group have no name",
    "docs: " + "x" * 66,
    "docs: " + "ü" * 66,
    "docs: one\n\nA body.\n",
    "\n# A comment.\ndocs: one\n# Another.\n",
    "docs: one\n# ------------------------ >8 ------------------------\ndiff\n",
    f"Merge branch 'main' into {'x' * 60}.",
    f'Revert "fix: {"x" * 67}"',
    "fixup! docs: one",
]
BAD = {
    "docs: " + "x" * 67: "has 73 characters",
    "docs: one.": "full stop",
    "docs:one": "begin with",
    "doc: one": "begin with",
    "docs: ": "begin with",
    "Mend it": "begin with",
    "": "begin with",
    "docs: one\ntwo\n": "empty line",
}


def run(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize("message", GOOD)
def test_lets_a_good_message_pass(message: str, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(message)
    done = run("message", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("message", BAD)
def test_says_what_is_wrong(message: str, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(message)
    done = run("message", directory=tmp_path)
    assert done.returncode == 1
    assert BAD[message] in done.stderr


class TestCommits:
    """Over the commits since a base."""

    @pytest.fixture
    def commit(self, tmp_path: Path) -> Callable[..., None]:
        def git(*arguments: str) -> None:
            subprocess.run(
                [*GIT, *arguments],
                cwd=tmp_path,
                check=True,
                capture_output=True,
                timeout=30,
            )

        def commit(message: str, tag: str = "") -> None:
            git("commit", "--allow-empty", "--no-verify", "-m", message)
            if tag:
                git("tag", tag)

        git("init", "--quiet")
        return commit

    def test_those_before_the_release_are_exempt(self, commit, tmp_path: Path) -> None:
        commit("Whatever.", "v1.0.0")
        commit("docs: one")
        done = run("--since", directory=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "of 1 commits" in done.stdout

    def test_a_bad_one_is_named(self, commit, tmp_path: Path) -> None:
        commit("docs: one", "v1.0.0")
        commit("docs: two.")
        commit("docs: three\n\nWith a body.")
        done = run("--since", "v1.0.0", directory=tmp_path)
        assert done.returncode == 1
        assert '"docs: two."' in done.stderr
        assert "three" not in done.stderr

    def test_without_the_base_it_says_so(self, commit, tmp_path: Path) -> None:
        commit("Whatever.")
        done = run("--since", directory=tmp_path)
        assert done.returncode == 0
        assert "NOT CHECKED" in done.stdout

    def test_a_base_that_is_no_ancestor_is_an_error(self, commit, tmp_path: Path):
        commit("docs: one")
        done = run("--since", "nothing", directory=tmp_path)
        assert done.returncode == 1
        assert "nothing is no commit before HEAD" in done.stderr
