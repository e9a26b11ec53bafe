//! `serve NAME [THREADS]`: an echo and broadcast server on the crate of that name.

fn main() -> engine_bench::Result<()> {
    engine_bench::serve(std::env::args().skip(1))
}
