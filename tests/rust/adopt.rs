//! The engine takes a socket out of a server's hands.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use common::{Echo, limited, parts, tcp_pair};
use dwebsocket::{
    config::Config,
    engine::{
        Connection, Inbox, Parts, Received,
        adopt::{adopt, hold},
    },
};
use tungstenite::{Message as Wire, WebSocket, protocol::Role};

#[test]
fn the_server_writes_into_nothing_and_reads_the_end_of_the_file() {
    limited(|| {
        let (mut server, peer) = tcp_pair();
        let socket = adopt(server.as_raw_fd(), None).unwrap().socket;
        server.write_all(&[b'x'; 300_000]).unwrap();
        assert_eq!(server.read(&mut [0; 16]).unwrap(), 0);
        drop(server);
        let parts = Parts {
            socket,
            head: Vec::new(),
            leftover: Vec::new(),
            deflate: None,
            config: Arc::new(Config::default()),
            permit: None,
        };
        let _connection = Connection::start(parts, Arc::new(Echo)).unwrap();
        let mut peer = WebSocket::from_raw_socket(peer, Role::Client, None);
        peer.send(Wire::text("hello")).unwrap();
        assert_eq!(peer.read().unwrap(), Wire::text("hello"));
    });
}

#[test]
fn a_server_that_writes_late_writes_into_nothing_too() {
    limited(|| {
        let (mut server, _peer) = tcp_pair();
        let _adopted = adopt(server.as_raw_fd(), None).unwrap();
        for _ in 0..2 {
            // Long enough for the looks among the chores to end.
            std::thread::sleep(Duration::from_millis(400));
            server.write_all(&[b'x'; 300_000]).unwrap();
        }
    });
}

#[test]
fn a_nonblocking_server_stays_nonblocking() {
    limited(|| {
        let (mut server, _peer) = tcp_pair();
        server.set_nonblocking(true).unwrap();
        let _adopted = adopt(server.as_raw_fd(), None).unwrap();
        // The read returns the end of the file at once instead of waiting.
        assert_eq!(server.read(&mut [0; 16]).unwrap(), 0);
    });
}

#[test]
fn a_dropped_adoption_closes_the_socket() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        drop(adopt(server.as_raw_fd(), None).unwrap());
        drop(server);
        assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
    });
}

#[test]
fn what_is_no_connected_stream_socket_is_refused_and_left_alone() {
    limited(|| {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(adopt(file.as_raw_fd(), None).is_err());
        let datagram = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(adopt(datagram.as_raw_fd(), None).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(adopt(listener.as_raw_fd(), None).is_err());
        assert!(adopt(-1, None).is_err());
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_socket_that_the_peer_has_reset_is_taken_and_ends_at_once() {
    limited(|| {
        let (server, peer) = tcp_pair();
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        let socket = adopt(server.as_raw_fd(), None).unwrap().socket;
        let inbox = Inbox::new(&Config::default(), common::threads());
        let mut parts = parts(server, Config::default());
        parts.socket = socket;
        let connection = Connection::start(parts, Arc::clone(&inbox) as _).unwrap();
        assert_eq!(inbox.wait(&connection, None), Received::End);
        assert_eq!(connection.end().unwrap().code, 1006);
    });
}

#[test]
fn a_number_that_means_another_socket_is_left_alone() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let (stranger, mut friend) = tcp_pair();
        let held = hold(server.as_raw_fd()).unwrap();
        drop(server);
        let error = held.take(stranger.as_raw_fd(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        // The stranger's socket works, and the held one is closed.
        let mut stranger = stranger;
        friend.write_all(b"hello").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(stranger.read(&mut buffer).unwrap(), 5);
        assert_eq!(peer.read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn a_held_socket_stays_open_without_the_servers_descriptor() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let number = server.as_raw_fd();
        let held = hold(number).unwrap();
        drop(server);
        peer.set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        assert!(peer.read(&mut [0; 16]).is_err());
        drop(held);
        peer.set_read_timeout(Some(common::LIMIT)).unwrap();
        assert_eq!(peer.read(&mut [0; 16]).unwrap(), 0);
    });
}

#[test]
fn the_servers_descriptor_stays_closed_on_exec() {
    limited(|| {
        let (server, _peer) = tcp_pair();
        let _adopted = adopt(server.as_raw_fd(), None).unwrap();
        let path = format!("/proc/self/fdinfo/{}", server.as_raw_fd());
        let info = std::fs::read_to_string(path).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        // O_CLOEXEC of the descriptor, as Linux prints it.
        assert_ne!(flags & 0o2_000_000, 0);
    });
}
