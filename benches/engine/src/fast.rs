//! fastwebsockets.

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket,
};
use tokio::io::{AsyncWrite, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::broadcast::Sender;
use tokio::sync::mpsc;

use crate::handshake::Opened;
use crate::{Purpose, Result};

type Writer<S> = fastwebsockets::WebSocketWrite<S>;

pub async fn serve(stream: TcpStream, opened: Opened, sender: Sender<Bytes>) -> Result<()> {
    match opened.purpose {
        Purpose::Echo => echo(stream).await,
        Purpose::Member => broadcast(stream, false, sender).await,
        Purpose::Publisher => broadcast(stream, true, sender).await,
    }
}

/// Writes every frame right after it is read: the crate cannot gather several.
async fn echo(stream: TcpStream) -> Result<()> {
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

/// The crate writes every frame at once, so a buffered stream gathers several.
async fn broadcast(stream: TcpStream, publishes: bool, sender: Sender<Bytes>) -> Result<()> {
    let (read, write) = stream.into_split();
    let (read, mut write) =
        fastwebsockets::after_handshake_split(read, BufWriter::new(write), Role::Server);
    let mut read = FragmentCollectorRead::new(read);
    // Pongs and the answer to a Close frame, which the reader passes to the writer.
    let (owe, mut owed) = mpsc::channel::<Frame<'static>>(4);
    let mut messages = sender.subscribe();
    let reading = async {
        loop {
            let frame = read.read_frame(&mut |frame| owe.send(frame)).await?;
            match frame.opcode {
                OpCode::Close => return Ok::<(), crate::Error>(()),
                OpCode::Text if publishes => {
                    // An error means that there is no member to get the message.
                    let _ = sender.send(Bytes::copy_from_slice(&frame.payload));
                }
                _ => {}
            }
        }
    };
    let writing = async {
        loop {
            tokio::select! {
                message = messages.recv(), if !publishes => {
                    text(&mut write, &message?).await?;
                    while let Ok(message) = messages.try_recv() {
                        text(&mut write, &message).await?;
                    }
                }
                Some(frame) = owed.recv() => write.write_frame(frame).await?,
            }
            write.flush().await?;
        }
    };
    tokio::select! {
        outcome = reading => outcome,
        outcome = writing => outcome,
    }
}

async fn text<S: AsyncWrite + Unpin>(write: &mut Writer<S>, message: &Bytes) -> Result<()> {
    // The writer's type needs frames that own their payload or live as long as the writer.
    Ok(write
        .write_frame(Frame::text(Payload::Owned(message.to_vec())))
        .await?)
}
