//! The server's half of the opening handshake, as far as the load program needs it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Result;

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

/// Opens the WebSocket without extensions; returns the path of the request.
pub async fn plain(stream: &mut TcpStream) -> Result<String> {
    let request = Request::read(stream).await?;
    respond(stream, &request, "").await?;
    Ok(path(&request.head).to_owned())
}

/// Opens the WebSocket, and accepts the client's offer of permessage-deflate as it is. Returns the
/// extensions in use.
pub async fn deflate(stream: &mut TcpStream) -> Result<String> {
    let request = Request::read(stream).await?;
    let extensions = request.header("sec-websocket-extensions").to_owned();
    respond(stream, &request, &extensions).await?;
    Ok(extensions)
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
