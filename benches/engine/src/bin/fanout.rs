//! `fanout NAME [THREADS]`: a broadcast server on the crate of that name.

fn main() -> engine_bench::Result<()> {
    engine_bench::fanout::serve(std::env::args().skip(1))
}
