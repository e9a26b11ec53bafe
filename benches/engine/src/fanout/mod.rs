//! Broadcast servers, one per crate. A message on a connection to `/publish` goes to all connections
//! to other paths.
//!
//! The servers differ in the crate only: each has two worker threads, the same handshake,
//! `TCP_NODELAY`, and a task for each member, which gets messages from tokio's `broadcast` channel.
//! All members share a message's bytes if the crate permits, and one write sends all messages that
//! are ready.

mod fastwebsockets;
mod ours;
mod sinks;

use std::io::Write;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::{Result, handshake};

/// The names that [`serve`] knows.
pub const NAMES: [&str; 5] = [
    "dwebsocket",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "tungstenite",
];

/// The most messages that a member may be behind; the load program has far fewer on their way.
const BEHIND: usize = 1024;

/// Reads `NAME [THREADS]`, prints the port and serves for ever. The engine ignores `THREADS`: it always
/// has two.
pub fn serve(mut words: impl Iterator<Item = String>) -> Result<()> {
    let name = words.next().unwrap_or_default();
    let threads = words.next().map_or(Ok(2), |text| text.parse())?;
    if !NAMES.contains(&name.as_str()) {
        return Err(format!("usage: NAME [THREADS], NAME one of {}", NAMES.join(", ")).into());
    }
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listener.listen(4096)?;
    let listener = std::net::TcpListener::from(listener);
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    if name == "dwebsocket" {
        return ours::serve(&listener);
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
    match name {
        "fastwebsockets" => each(listener, fastwebsockets::connection).await,
        "tokio-websockets" => each(listener, sinks::tokio_websockets).await,
        "yawc" => each(listener, sinks::yawc).await,
        _ => each(listener, sinks::tungstenite).await,
    }
}

/// Accepts connections for ever; `M` is the crate's message type.
async fn each<M, F>(
    listener: TcpListener,
    serve: fn(TcpStream, bool, broadcast::Sender<M>) -> F,
) -> Result<()>
where
    M: Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, _) = broadcast::channel(BEHIND);
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let sender = sender.clone();
        tokio::spawn(async move {
            let path = handshake::plain(&mut stream).await?;
            serve(stream, path.starts_with("/publish"), sender).await
        });
    }
}
