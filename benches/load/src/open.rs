//! Opens connections: TCP from a chosen source address, then the handshake.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
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

/// The source address for the connection with this number, so that ports do not run out.
pub fn source(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        127,
        0,
        0,
        u8::try_from(2 + number / 5000 % 250).unwrap_or(2),
    )
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
        let count = stream.read(&mut chunk)?;
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

/// Opens several WebSockets, a few at a time.
pub fn several(target: &Target, numbers: std::ops::Range<usize>) -> Result<Vec<Opened>> {
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
