//! The crates whose sockets are a `Stream` and a `Sink` of messages.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use yawc::frame::{Frame, OpCode};

use crate::handshake::Opened;
use crate::{Purpose, Result};

pub async fn tokio_websockets(
    stream: TcpStream,
    opened: Opened,
    sender: Sender<tokio_websockets::Message>,
) -> Result<()> {
    let socket = tokio_websockets::ServerBuilder::new().serve(stream);
    let is_data = |message: &tokio_websockets::Message| message.is_text() || message.is_binary();
    connection(socket, opened.purpose, &sender, is_data).await
}

pub async fn yawc(stream: TcpStream, opened: Opened, sender: Sender<Frame>) -> Result<()> {
    let mut options = yawc::Options::default().with_utf8();
    let extensions = Some(opened.extensions.as_str()).filter(|text| !text.is_empty());
    if extensions.is_some() {
        options = options.with_balanced_compression();
    }
    let socket = yawc::WebSocket::from_stream_with_extensions(
        stream,
        yawc::Role::Server,
        extensions,
        options,
    )?;
    let is_data = |frame: &Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
    connection(socket.map(Ok), opened.purpose, &sender, is_data).await
}

/// With the crate's default read buffer.
pub async fn tungstenite(stream: TcpStream, opened: Opened, sender: Sender<Message>) -> Result<()> {
    buffered(stream, opened, sender, 128 * 1024).await
}

/// With a read buffer of 8 KiB: every poll for a message clears the buffer.
pub async fn tungstenite_8k(
    stream: TcpStream,
    opened: Opened,
    sender: Sender<Message>,
) -> Result<()> {
    buffered(stream, opened, sender, 8 * 1024).await
}

async fn buffered(
    stream: TcpStream,
    opened: Opened,
    sender: Sender<Message>,
    read_buffer: usize,
) -> Result<()> {
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let is_data = |message: &Message| message.is_text() || message.is_binary();
    connection(socket, opened.purpose, &sender, is_data).await
}

async fn connection<S, M, E>(
    socket: S,
    purpose: Purpose,
    sender: &Sender<M>,
    is_data: impl Fn(&M) -> bool,
) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E>,
    M: Clone,
    E: std::error::Error + Send + Sync + 'static,
{
    match purpose {
        Purpose::Echo => echo(socket, is_data).await,
        Purpose::Member => member(std::pin::pin!(socket), sender.subscribe()).await,
        Purpose::Publisher => publisher(socket, sender, is_data).await,
    }
}

async fn publisher<S, M, E>(
    socket: S,
    sender: &Sender<M>,
    is_data: impl Fn(&M) -> bool,
) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut socket = std::pin::pin!(socket);
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

/// Echoes all messages that are ready before it flushes, so that one write sends a burst.
async fn echo<S, M, E>(socket: S, is_data: impl Fn(&M) -> bool) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut socket = std::pin::pin!(socket);
    while let Some(message) = next_or_flush(socket.as_mut()).await {
        let message = message?;
        if is_data(&message) {
            poll_fn(|context| socket.as_mut().poll_ready(context)).await?;
            socket.as_mut().start_send(message)?;
        }
    }
    Ok(())
}

/// The next message. While there is none, the queued messages are written.
async fn next_or_flush<S, M, E>(mut socket: Pin<&mut S>) -> Option<std::result::Result<M, E>>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E>,
{
    poll_fn(|context| {
        if let Poll::Ready(item) = socket.as_mut().poll_next(context) {
            return Poll::Ready(item);
        }
        match ready!(socket.as_mut().poll_flush(context)) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    })
    .await
}
