//! Echo servers (and, in [`fanout`], broadcast servers), one per crate, alike in everything but the crate: two worker threads each, the
//! same handshake, `TCP_NODELAY`, and the way of echoing that the crate is fastest with.

pub mod fanout;
mod handshake;
mod ours;
mod peers;

use std::io::Write;

use tokio::net::TcpListener;

/// What every part of the program returns; the text is for the one who runs it.
pub type Result<T> = std::result::Result<T, Error>;

/// Whatever has gone wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What [`serve`] knows by name: this engine, which compresses with a compressor for all or with one
/// for each connection, and the crates beside it.
pub const NAMES: [&str; 9] = [
    "dwebsocket",
    "dwebsocket-level6",
    "dwebsocket-dedicated",
    "dwebsocket-dedicated-level6",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "tungstenite",
    "tungstenite-8k",
];

/// Reads `NAME [THREADS]`, prints the port and echoes for ever. The engine decides itself how many
/// threads it has: two.
pub fn serve(mut words: impl Iterator<Item = String>) -> Result<()> {
    let name = words.next().unwrap_or_default();
    let threads = words.next().map_or(Ok(2), |text| text.parse())?;
    if !NAMES.contains(&name.as_str()) {
        return Err(format!("usage: NAME [THREADS], NAME one of {}", NAMES.join(", ")).into());
    }
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    if name.starts_with("dwebsocket") {
        return ours::serve(&listener, &name);
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_io()
        .build()?
        .block_on(accept(&name, listener))
}

async fn accept(name: &str, listener: std::net::TcpListener) -> Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match name {
            "fastwebsockets" => tokio::spawn(peers::fastwebsockets(stream)),
            "tokio-websockets" => tokio::spawn(peers::tokio_websockets(stream)),
            "yawc" => tokio::spawn(peers::yawc(stream)),
            "tungstenite" => tokio::spawn(peers::tungstenite(stream, 128 * 1024)),
            _ => tokio::spawn(peers::tungstenite(stream, 8 * 1024)),
        };
    }
}
