//! Echo servers and, in [`fanout`], broadcast servers, one per crate. The servers differ in the crate
//! only: each has two worker threads, the same handshake, `TCP_NODELAY`, and the way of echoing that is
//! fastest with the crate.

pub mod fanout;
mod handshake;
mod ours;
mod peers;

use std::io::Write;

use tokio::net::TcpListener;

/// The result of every part of the program; the user of the program reads the error's text.
pub type Result<T> = std::result::Result<T, Error>;

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The names that [`serve`] knows: this engine, with a shared compressor or with one for each
/// connection, and the other crates.
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

/// Reads `NAME [THREADS]`, prints the port and echoes for ever. The engine ignores `THREADS`: it always
/// has two.
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
