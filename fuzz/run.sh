#!/bin/sh
# Fuzzes every target, one after the other: fuzz/run.sh [SECONDS] [TARGET ...]
#
# Needs cargo and a C++ compiler (libFuzzer is C++); installs cargo-fuzz where it is missing. Works
# with a stable toolchain: RUSTC_BOOTSTRAP lets it take the sanitizer flags.
# New inputs go to fuzz/corpus, failing ones to fuzz/artifacts; neither is committed.
set -eu

seconds=${1:-60}
[ $# -gt 0 ] && shift
targets=${*:-frame chunked inflate handshake extensions broker history}

cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1
PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

if ! cargo fuzz --version >/dev/null 2>&1; then
    # cargo-fuzz only starts cargo and the targets: it needs no optimised build, which takes longer.
    echo "installing cargo-fuzz"
    cargo install --locked --debug cargo-fuzz
fi

for target in $targets; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    # More than five seconds for an input, or 1 GiB, is a finding too.
    cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=5 -rss_limit_mb=1024 \
        -print_final_stats=1
done
