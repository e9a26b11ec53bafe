"""Checks that the crate builds with the oldest Rust that Cargo.toml promises.

The program always checks that no dependency asks for a newer Rust. (Clippy's
``incompatible_msrv`` checks our own code, with the other lints.) If that toolchain is
installed, the program compiles the crate with it, with the default features and without
them; if not, it says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def output(*command: str) -> str:
    """Return the output of a command; empty if there is no such command."""
    try:
        return subprocess.run(
            command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    except FileNotFoundError:
        return ""


def version(text: str) -> tuple[int, ...]:
    """Return a version as three numbers: 1.89 is 1.89.0."""
    numbers = [int(part) for part in text.split("-")[0].split(".")]
    return (*numbers, *[0] * (3 - len(numbers)))


def toolchain(promised: str) -> str | None:
    """Return the name of an installed toolchain of that minor version."""
    for line in output("rustup", "toolchain", "list").splitlines():
        name = line.split()[0]
        if name[0].isdigit() and version(name)[:2] == version(promised)[:2]:
            return name
    return None


def compile_with(name: str) -> int:
    """Check the crate with a toolchain; return the status of the first failure."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target" / "msrv")}
    environment["RUSTUP_TOOLCHAIN"] = name
    for features in ([], ["--no-default-features"]):
        command = ["cargo", "check", "--locked", "--quiet", "--lib", *features]
        print("+", *command, f"(Rust {name})", flush=True)
        if status := subprocess.run(command, cwd=ROOT, env=environment).returncode:
            return status
    return 0


def main() -> int:
    """Run the checks; return the exit status."""
    metadata = json.loads(
        output("cargo", "metadata", "--locked", "--format-version", "1")
    )
    packages = {package["id"]: package for package in metadata["packages"]}
    promised = packages[metadata["resolve"]["root"]]["rust_version"]
    newer = [
        f"{package['name']} {package['version']} needs Rust {package['rust_version']}"
        for package in packages.values()
        if version(package["rust_version"] or "1") > version(promised)
    ]
    if newer:
        print(f"Cargo.toml promises Rust {promised}, but", *newer, sep="\n    ")
        return 1
    print(f"none of {len(packages)} crates needs a Rust newer than {promised}")
    name = toolchain(promised)
    if name is None:
        print(f"NOT COMPILED with Rust {promised}: that toolchain is not here")
        return 0
    return compile_with(name)


if __name__ == "__main__":
    sys.exit(main())
