//! A tokio-tungstenite client that is told by its standard input what to do, and tells by its
//! standard output what comes: a letter, the length in four bytes, the data.
//!
//! `t` text, `b` binary, `c` close (code in two bytes, reason), `o` open (the agreed extensions).

use std::io::{self, Read, Write};

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::{
    connect_async_with_config,
    tungstenite::{
        Message,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn read_command(input: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    input.read_exact(&mut head)?;
    let mut data = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
    input.read_exact(&mut data)?;
    Ok((head[0], data))
}

fn report(kind: u8, data: &[u8]) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    output.write_all(&[kind])?;
    output.write_all(&u32::try_from(data.len())?.to_be_bytes())?;
    output.write_all(data)?;
    Ok(output.flush()?)
}

fn message(kind: u8, data: Vec<u8>) -> Result<Message, Failure> {
    Ok(match kind {
        b't' => Message::Text(String::from_utf8(data)?.into()),
        b'b' => Message::Binary(data.into()),
        b'c' => Message::Close(Some(CloseFrame {
            code: u16::from_be_bytes([data[0], data[1]]).into(),
            reason: std::str::from_utf8(&data[2..])?.into(),
        })),
        other => return Err(format!("unknown command {other}").into()),
    })
}

/// Reads commands in a thread, since standard input cannot be awaited.
fn commands() -> mpsc::Receiver<(u8, Vec<u8>)> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Ok(command) = read_command(&mut input) {
            if sender.blocking_send(command).is_err() {
                break;
            }
        }
    });
    receiver
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("usage: interop URL")?;
    let config = WebSocketConfig::default();
    let (mut socket, response) = connect_async_with_config(url, Some(config), false).await?;
    let extensions = response.headers().get("Sec-WebSocket-Extensions");
    report(b'o', extensions.map_or(b"", |value| value.as_bytes()))?;
    let mut commands = commands();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some((kind, data)) => socket.send(message(kind, data)?).await?,
                None => return Ok(()),
            },
            received = socket.next() => match received.transpose()? {
                Some(Message::Text(text)) => report(b't', text.as_bytes())?,
                Some(Message::Binary(data)) => report(b'b', &data)?,
                Some(Message::Close(Some(frame))) => {
                    let code = u16::from(frame.code).to_be_bytes();
                    report(b'c', &[&code, frame.reason.as_bytes()].concat())?;
                }
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
