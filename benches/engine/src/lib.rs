//! Echo and broadcast servers, one per crate. The servers differ in the crate only: each has the same
//! handshake, `TCP_NODELAY`, and the ways of echoing and of broadcasting that are fastest with the crate.
//!
//! Messages on `/publish` go to all connections on `/member`; on every other path, each message is sent
//! back. The crates share tokio's broadcast channel, so a message is copied as seldom as the crate
//! permits, and one write sends all messages that are ready.

mod fast;
mod handshake;
mod ours;
mod sinks;

use std::io::Write;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use handshake::Opened;

/// The result of every part of the program; the user of the program reads the error's text.
pub type Result<T> = std::result::Result<T, Error>;

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The names that [`serve`] knows: this engine, with a shared compressor, with none or with one for each
/// connection, and the other crates.
pub const NAMES: [&str; 10] = [
    "dwebsocket",
    "dwebsocket-off",
    "dwebsocket-level6",
    "dwebsocket-dedicated",
    "dwebsocket-dedicated-level6",
    "fastwebsockets",
    "tokio-websockets",
    "yawc",
    "tungstenite",
    "tungstenite-8k",
];

/// The most messages that a member may be behind; the load program has far fewer on their way.
const BEHIND: usize = 1024;

/// What a connection is for, by the path of its request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Echo,
    Member,
    Publisher,
}

impl Purpose {
    fn of(path: &str) -> Self {
        match path {
            "/member" => Self::Member,
            "/publish" => Self::Publisher,
            _ => Self::Echo,
        }
    }
}

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
    match name {
        "fastwebsockets" => each(listener, false, fast::serve).await,
        "tokio-websockets" => each(listener, false, sinks::tokio_websockets).await,
        "yawc" => each(listener, true, sinks::yawc).await,
        "tungstenite" => each(listener, false, sinks::tungstenite).await,
        _ => each(listener, false, sinks::tungstenite_8k).await,
    }
}

/// Accepts connections for ever; `M` is the crate's message type, and `deflates` says whether it can
/// compress.
async fn each<M, F>(
    listener: TcpListener,
    deflates: bool,
    serve: fn(TcpStream, Opened, broadcast::Sender<M>) -> F,
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
            let opened = handshake::open(&mut stream, deflates).await?;
            serve(stream, opened, sender).await
        });
    }
}
