//! The other crates' echo loops.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use futures_util::{Sink, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::{Result, handshake};

/// Writes every frame right after it is read: the crate cannot gather several.
pub async fn fastwebsockets(mut stream: TcpStream) -> Result<()> {
    use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};

    handshake::plain(&mut stream).await?;
    let mut socket = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

pub async fn tokio_websockets(mut stream: TcpStream) -> Result<()> {
    handshake::plain(&mut stream).await?;
    let socket = tokio_websockets::ServerBuilder::new().serve(stream);
    echo(
        socket.filter(|item| {
            std::future::ready(item.as_ref().is_ok_and(|message| !message.is_close()))
        }),
    )
    .await
}

pub async fn yawc(mut stream: TcpStream) -> Result<()> {
    use yawc::frame::{Frame, OpCode};
    use yawc::{Options, Role, WebSocket};

    let extensions = handshake::deflate(&mut stream).await?;
    let mut options = Options::default().with_utf8();
    if !extensions.is_empty() {
        options = options.with_balanced_compression();
    }
    let extensions = Some(extensions.as_str()).filter(|text| !text.is_empty());
    let socket = WebSocket::from_stream_with_extensions(stream, Role::Server, extensions, options)?;
    let data = |frame: Frame| {
        let data = matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
        std::future::ready(data.then_some(Ok(frame)))
    };
    echo(socket.filter_map(data)).await
}

pub async fn tungstenite(mut stream: TcpStream, read_buffer: usize) -> Result<()> {
    handshake::plain(&mut stream).await?;
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let socket =
        tokio_tungstenite::WebSocketStream::from_raw_socket(stream, Role::Server, Some(config))
            .await;
    echo(
        socket.filter(|item| {
            std::future::ready(item.as_ref().is_ok_and(|message| !message.is_close()))
        }),
    )
    .await
}

/// Echoes all messages that are ready before it flushes, so that one write sends a burst.
async fn echo<S, M, E>(socket: S) -> Result<()>
where
    S: Stream<Item = std::result::Result<M, E>> + Sink<M, Error = E>,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut socket = std::pin::pin!(socket);
    while let Some(message) = next_or_flush(socket.as_mut()).await {
        poll_fn(|context| socket.as_mut().poll_ready(context)).await?;
        socket.as_mut().start_send(message?)?;
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
