//! Opens connections: TCP from a chosen source address, then the handshake.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::Result;

/// The address to connect to, and the request.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
    /// The offer in `Sec-WebSocket-Extensions`; empty: none.
    pub extensions: String,
}

/// An open WebSocket, in blocking mode.
pub struct Opened {
    pub stream: TcpStream,
    /// Bytes of frames that arrived with the response.
    pub leftover: Vec<u8>,
    /// The server's `Sec-WebSocket-Extensions`.
    pub extensions: String,
}

/// The number of connections in a row that have the same source address.
pub const PER_SOURCE: usize = 5000;

/// The source address for the connection with this number, so that ports do not run out.
pub fn source(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        127,
        0,
        0,
        u8::try_from(2 + number / PER_SOURCE % 250).unwrap_or(2),
    )
}

/// Sends one HTTP request on a connection of its own, and waits for the end of the response.
pub fn get(address: SocketAddr, path: &str, number: usize) -> Result<()> {
    let mut stream = connect(address, source(number))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&response) {
        match crate::again(|| stream.read(&mut chunk))? {
            0 => break,
            count => response.extend_from_slice(&chunk[..count]),
        }
    }
    if response.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        let text = String::from_utf8_lossy(&response).into_owned();
        Err(format!("not a 200: {text}").into())
    }
}

/// Whether an HTTP response has come as far as its `Content-Length` says; without one, it ends with the
/// connection.
fn is_whole(response: &[u8]) -> bool {
    let Some(end) = response.windows(4).position(|part| part == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&response[..end]).to_ascii_lowercase();
    head.lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse::<usize>().ok())
        .is_some_and(|length| response.len() >= end + 4 + length)
}

/// Opens one TCP connection; binds it to the source address if the server is on loopback.
pub fn connect(address: SocketAddr, source: Ipv4Addr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv4() && address.ip().is_loopback() {
        socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    }
    socket.connect_timeout(&address.into(), Duration::from_secs(60))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(socket.into())
}

/// Opens one WebSocket; `number` chooses the source address.
pub fn websocket(target: &Target, number: usize) -> Result<Opened> {
    let mut stream = connect(target.address, source(number))?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        target.path, target.address
    );
    if !target.extensions.is_empty() {
        request += &format!("Sec-WebSocket-Extensions: {}\r\n", target.extensions);
    }
    stream.write_all((request + "\r\n").as_bytes())?;
    let mut received = Vec::new();
    let end = loop {
        let mut chunk = [0; 1024];
        let count = crate::again(|| stream.read(&mut chunk))?;
        if count == 0 {
            return Err("the server closed the connection during the handshake".into());
        }
        received.extend_from_slice(&chunk[..count]);
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    // The key above and this answer are the example of RFC 6455 section 1.3.
    if !head.starts_with("HTTP/1.1 101") || !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        return Err(format!("the server did not open a WebSocket: {head}").into());
    }
    let extensions = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))
        .map_or(String::new(), |(_, value)| value.trim().to_owned());
    Ok(Opened {
        stream,
        leftover: received.split_off(end),
        extensions,
    })
}

/// Divides connections that are to be opened into portions. The caller reads in between, so that the server
/// gets answers to its pings.
pub fn portions(numbers: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    const PORTION: usize = 500;
    let end = numbers.end;
    numbers
        .step_by(PORTION)
        .map(move |first| first..end.min(first + PORTION))
}

/// Opens several WebSockets, a few at a time.
pub fn several(target: &Target, numbers: Range<usize>) -> Result<Vec<Opened>> {
    const AT_A_TIME: usize = 8;
    let next = std::sync::atomic::AtomicUsize::new(numbers.start);
    let next = &next;
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                scope.spawn(move || {
                    let mut opened = Vec::new();
                    loop {
                        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if number >= numbers.end {
                            return Ok(opened);
                        }
                        opened.push(websocket(target, number)?);
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for opener in openers {
            let opened: Result<Vec<Opened>> =
                opener.join().map_err(|_| "an opening thread panicked")?;
            all.extend(opened?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::{is_whole, portions};

    #[test]
    fn portions_hold_every_number_once() {
        let numbers: Vec<_> = portions(3..1234).flatten().collect();
        assert_eq!(numbers, (3..1234).collect::<Vec<_>>());
        assert_eq!(portions(7..7).count(), 0);
    }

    #[test]
    fn a_response_is_whole_when_its_length_has_come() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"));
        assert!(!is_whole(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"
        ));
        assert!(is_whole(
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
        ));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nhello"));
    }
}
