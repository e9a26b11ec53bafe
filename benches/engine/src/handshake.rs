//! The server's half of the opening handshake, as far as the load program needs it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{Purpose, Result};

/// The head of a request, and the parts of it that the handshake needs.
pub struct Request {
    head: String,
}

impl Request {
    /// Reads the head. The client sends no more bytes before it has the response.
    pub async fn read(stream: &mut TcpStream) -> Result<Self> {
        let mut head = Vec::with_capacity(512);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err("the client went away".into());
            }
        }
        Ok(Self {
            head: String::from_utf8(head)?,
        })
    }

    fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }
}

/// The value of a header in the head of a request, "" if it is absent.
pub fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value.trim())
}

/// The path in the head of a request.
pub fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// An open WebSocket.
pub struct Opened {
    /// What the connection is for.
    pub purpose: Purpose,
    /// The extensions in use, as the client offered them; empty: none.
    pub extensions: String,
}

/// Opens the WebSocket. If `deflates`, the client's offer of permessage-deflate is accepted as it is.
pub async fn open(stream: &mut TcpStream, deflates: bool) -> Result<Opened> {
    let request = Request::read(stream).await?;
    let extensions = if deflates {
        request.header("sec-websocket-extensions").to_owned()
    } else {
        String::new()
    };
    respond(stream, &request, &extensions).await?;
    Ok(Opened {
        purpose: Purpose::of(path(&request.head)),
        extensions,
    })
}

async fn respond(stream: &mut TcpStream, request: &Request, extensions: &str) -> Result<()> {
    let accept = derive_accept_key(request.header("sec-websocket-key").as_bytes());
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if !extensions.is_empty() {
        head += &format!("Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).await?;
    Ok(())
}
