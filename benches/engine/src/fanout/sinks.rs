//! The crates whose sockets are a `Stream` and a `Sink` of messages.

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use yawc::frame::{Frame, OpCode};

use crate::Result;

pub async fn tokio_websockets(
    stream: TcpStream,
    publishes: bool,
    sender: Sender<tokio_websockets::Message>,
) -> Result<()> {
    let socket = tokio_websockets::ServerBuilder::new().serve(stream);
    let is_data = |message: &tokio_websockets::Message| message.is_text() || message.is_binary();
    connection(socket, publishes, &sender, is_data).await
}

pub async fn yawc(stream: TcpStream, publishes: bool, sender: Sender<Frame>) -> Result<()> {
    let options = yawc::Options::default().with_utf8();
    let socket = yawc::WebSocket::from_stream(stream, yawc::Role::Server, options)?;
    let is_data = |frame: &Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
    connection(socket.map(Ok), publishes, &sender, is_data).await
}

pub async fn tungstenite(
    stream: TcpStream,
    publishes: bool,
    sender: Sender<Message>,
) -> Result<()> {
    // Every poll for a message clears a buffer of this size; the default is 128 KiB.
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    connection(socket, publishes, &sender, is_data).await
}

async fn connection<S, M, E>(
    socket: S,
    publishes: bool,
    sender: &Sender<M>,
    is_data: impl Fn(&M) -> bool,
) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E>,
    M: Clone,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut socket = std::pin::pin!(socket);
    if !publishes {
        return member(socket, sender.subscribe()).await;
    }
    while let Some(message) = socket.next().await {
        let message = message?;
        if is_data(&message) {
            // An error means that there is no member to get the message.
            let _ = sender.send(message);
        }
    }
    Ok(())
}

/// Writes all messages that are ready at once. Reading answers pings and the Close frame.
async fn member<S, M, E>(mut socket: S, mut messages: Receiver<M>) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E> + Unpin,
    M: Clone,
    E: std::error::Error + Send + Sync + 'static,
{
    loop {
        tokio::select! {
            message = messages.recv() => {
                socket.feed(message?).await?;
                while let Ok(message) = messages.try_recv() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
            incoming = socket.next() => match incoming {
                Some(message) => drop(message?),
                None => return Ok(()),
            },
        }
    }
}
