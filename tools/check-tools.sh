#!/bin/sh
# Checks that Rust and Python are installed and new enough, and prints the Python to use.
# If a tool is missing, one line names it and the package to install.
set -u

root=$(cd "$(dirname "$0")/.." && pwd)

missing() {
    echo "$*" >&2
    exit 1
}

rust_needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
rust_url=https://rustup.rs
PATH="$PATH:${CARGO_HOME:-${HOME:-}/.cargo}/bin"
command -v cargo >/dev/null && command -v rustc >/dev/null ||
    missing "Rust is missing: install Rust $rust_needed or newer from $rust_url, then run make again."
rust_found=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2)
case $rust_found in
    [0-9]*) ;;
    *) missing "rustc does not run: install Rust $rust_needed or newer from $rust_url, then run make again." ;;
esac
oldest=$(printf '%s\n%s\n' "$rust_needed" "$rust_found" | sort -V | head -n 1)
[ "$oldest" = "$rust_needed" ] ||
    missing "Rust $rust_found is too old: install Rust $rust_needed or newer from $rust_url, then run make again."
command -v cc >/dev/null ||
    missing "A C linker is missing, which Rust needs: install gcc (Debian and Ubuntu: apt install gcc), then run make again."

# Take the first Python that is new enough. If $PYTHON is set, it is the only candidate.
python=
for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 python}; do
    path=$(command -v "$candidate") || continue
    if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
        python=$path
        break
    fi
done
[ -n "$python" ] || [ -z "${PYTHON:-}" ] ||
    missing "PYTHON=$PYTHON is no Python 3.10 or newer: name one that is installed, then run make again."
[ -n "$python" ] ||
    missing "Python 3.10 or newer is missing: install it (Debian and Ubuntu: apt install python3 python3-venv), then run make again."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    missing "$python has no venv module: install it (Debian and Ubuntu: apt install python3-venv), then run make again."

echo "$python"
