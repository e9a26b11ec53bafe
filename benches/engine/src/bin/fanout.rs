//! `fanout NAME [THREADS]`: the server of `serve`, under the name that its broadcasts had before.
//! `benches/before.py` starts it in older trees too.

fn main() -> engine_bench::Result<()> {
    engine_bench::serve(std::env::args().skip(1))
}
