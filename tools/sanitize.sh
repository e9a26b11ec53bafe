#!/bin/sh
# Runs the tests that reach the unsafe code (descriptors, fork) under AddressSanitizer.
#
# Works with a stable toolchain: RUSTC_BOOTSTRAP lets it accept the sanitizer's flag. Leak detection is
# off, because an engine lives as long as its process, on purpose.
set -eu
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0
exec cargo test --locked --quiet --no-default-features --target "$host" --target-dir target/sanitize \
    --test adopt --test fork --test connection --test turnstile
