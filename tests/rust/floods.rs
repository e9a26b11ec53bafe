//! Peers that flood the engine, while other connections must not notice.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Echo, connect, connect_inbox, fill_up, limited, parts, tcp_pair, until};
use dwebsocket::{
    config::{Config, Overflow},
    engine::{Connection, Handler, Inbox, Received, Sent},
    protocol::{Message, OpCode, extensions::DeflateParams},
};
use tungstenite::{Message as Wire, protocol::frame::coding::CloseCode};

/// A masked frame, with a key of zeros that leaves the payload as it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let head = match payload.len() {
        short @ 0..126 => vec![first, 0x80 | u8::try_from(short).unwrap()],
        long => {
            let mut head = vec![first, 0xff];
            head.extend_from_slice(&(long as u64).to_be_bytes());
            head
        }
    };
    [&head[..], &[0; 4], payload].concat()
}

/// A view that reads every message and sends none.
struct Discard;

impl Handler for Discard {
    fn on_message(&self, _connection: &Arc<Connection>, _message: Message) {}

    fn on_end(&self, _connection: &Connection) {}
}

fn start(server: TcpStream, config: Config, deflate: bool) -> Arc<Connection> {
    let mut parts = parts(server, config);
    parts.deflate = deflate.then_some(DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    });
    Connection::start(parts, Arc::new(Discard)).unwrap()
}

/// The bytes that a flooder sends first, and the unit that it then repeats for ever.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    unit: Vec<u8>,
    reads: bool,
    closed_by_us: bool,
    deflate: bool,
}

fn flood(name: &'static str, first: &[u8], unit: &[u8]) -> Flood {
    Flood {
        name,
        first: first.to_vec(),
        unit: unit.to_vec(),
        reads: false,
        closed_by_us: false,
        deflate: false,
    }
}

/// Floods until `stop` is set; connects anew after the engine closes the connection.
fn run(flood: &Flood, stop: &AtomicBool) {
    let unit = flood.unit.repeat((64 << 10) / flood.unit.len() + 1);
    while !stop.load(Relaxed) {
        let (server, mut peer) = tcp_pair();
        let connection = start(server, Config::default(), flood.deflate);
        if flood.closed_by_us {
            connection.close(1000, "");
        }
        if flood.reads {
            let mut reader = peer.try_clone().unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while matches!(reader.read(&mut buffer), Ok(1..)) {}
            });
        }
        // The time-out is short, so that the flooder soon notices the end.
        let short = Some(Duration::from_millis(50));
        peer.set_write_timeout(short).unwrap();
        let _ = peer.write_all(&flood.first);
        let mut sent = 0;
        while !stop.load(Relaxed) {
            match peer.write(&unit[sent..]) {
                Ok(count) => sent = (sent + count) % unit.len(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        connection.abort();
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_neighbour_gets_its_echoes_whatever_the_flood() {
    let ping = frame(0x89, b"");
    let fragments = [
        frame(1, b"a"),
        frame(0, b"b").repeat(9_998),
        frame(0x80, b"c"),
    ]
    .concat();
    let mut deflated = flate2::Compress::new(flate2::Compression::best(), false);
    let mut bomb = Vec::with_capacity(64 << 10);
    deflated
        .compress_vec(&vec![0; 1 << 20], &mut bomb, flate2::FlushCompress::Sync)
        .unwrap();
    bomb.truncate(bomb.len() - 4);
    let floods = vec![
        flood("pings", b"", &ping),
        Flood {
            reads: true,
            ..flood("pings, reading", b"", &ping)
        },
        flood("pongs", b"", &frame(0x8a, b"")),
        flood("one-byte fragments", b"", &fragments),
        flood("pings within a message", &frame(1, b"a"), &ping),
        flood("tiny text", b"", &frame(0x81, b"a")),
        flood("empty text", b"", &frame(0x81, b"")),
        Flood {
            deflate: true,
            ..flood("tiny compressed", b"", &frame(0xc1, b"\x4a\x04\0"))
        },
        Flood {
            deflate: true,
            ..flood("what inflates to 1 MiB", b"", &frame(0xc2, &bomb))
        },
        Flood {
            closed_by_us: true,
            ..flood("text after our Close", b"", &frame(0x81, b"a"))
        },
        Flood {
            closed_by_us: true,
            ..flood("pings after our Close", b"", &ping)
        },
        flood("after its own Close", &frame(0x88, b""), &ping),
        flood("Closes", b"", &frame(0x88, b"\x03\xe8")),
        flood("after a wrong frame", b"\xf3\x80", &ping),
    ];
    for flood in floods {
        let name = flood.name;
        println!("{name}");
        limited(move || {
            let stop = AtomicBool::new(false);
            let (_connection, mut peer) = connect(Config::default(), Arc::new(Echo));
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| run(&flood, &stop));
                }
                // Without protection against floods, each echo would take a tenth of a second to seconds.
                for number in 0..300 {
                    let message = Wire::text(format!("{name} {number}"));
                    peer.send(message.clone()).unwrap();
                    let echo = peer.read();
                    if echo.is_err() {
                        stop.store(true, Relaxed);
                    }
                    assert_eq!(echo.unwrap(), message);
                }
                stop.store(true, Relaxed);
            });
        });
    }
}

#[test]
fn a_neighbour_gets_its_echoes_while_others_download() {
    limited(|| {
        let stop = AtomicBool::new(false);
        let (_connection, mut peer) = connect(Config::default(), Arc::new(Echo));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let (connection, _inbox, peer) = connect_inbox(Config::default());
                    let mut reader = peer.get_ref().try_clone().unwrap();
                    let reading = thread::spawn(move || {
                        let mut buffer = vec![0; 1 << 20];
                        while matches!(reader.read(&mut buffer), Ok(1..)) {}
                    });
                    let part = vec![b'x'; 16 << 10];
                    while !stop.load(Relaxed) {
                        if connection.send(OpCode::Binary, &part, Overflow::Refuse) == Sent::Full {
                            connection.wait_for_room(part.len(), None);
                        }
                    }
                    connection.abort();
                    reading.join().unwrap();
                });
            }
            for number in 0..300 {
                let message = Wire::text(number.to_string());
                peer.send(message.clone()).unwrap();
                let echo = peer.read();
                if echo.is_err() {
                    stop.store(true, Relaxed);
                }
                assert_eq!(echo.unwrap(), message);
            }
            stop.store(true, Relaxed);
        });
    });
}

#[test]
fn of_many_pings_at_once_the_latest_are_answered_and_of_a_few_all() {
    limited(|| {
        for (count, most) in [(10_u32, 10), (20_000, 2_000)] {
            let (server, mut peer) = tcp_pair();
            let mut parts = parts(server, Config::default());
            parts.leftover = (0..count)
                .flat_map(|number| frame(0x89, &number.to_be_bytes()))
                .collect();
            let _connection = Connection::start(parts, Arc::new(Discard)).unwrap();
            let mut answered = Vec::new();
            while answered.last() != Some(&(count - 1)) {
                let mut pong = [0; 6];
                peer.read_exact(&mut pong).unwrap();
                assert_eq!(pong[..2], [0x8a, 4]);
                answered.push(u32::from_be_bytes(pong[2..].try_into().unwrap()));
            }
            assert!(answered.is_sorted());
            assert!(answered.len() <= most, "{} of {count}", answered.len());
            if count == 10 {
                assert_eq!(answered, (0..10).collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn pings_of_the_application_and_pongs_do_not_pile_up() {
    limited(|| {
        let config = Config {
            outbox_bytes: 1 << 20,
            ..Config::default()
        };
        let (connection, _inbox, mut peer) = connect_inbox(config);
        fill_up(&connection, 64 << 10);
        let full = connection.stats().outbox_bytes;
        let payload = [b'p'; 125];
        let taken = (0..10_000).filter(|_| connection.ping(&payload)).count();
        assert_eq!(taken, 64);
        // The engine answers the peer's pings, a few at a time. The message after them shows that all have
        // been read.
        for _ in 0..2_000 {
            peer.get_mut().write_all(&frame(0x89, &payload)).unwrap();
        }
        peer.get_mut().write_all(&frame(0x81, b"x")).unwrap();
        until("all is read", || connection.stats().received_messages == 1);
        let now = connection.stats().outbox_bytes;
        assert!(now <= full + 80 * 127, "{full}, then {now}");
        // Once the peer reads, all accepted pings arrive, and further pings are accepted.
        let (mut pings, mut pongs, mut messages) = (0, 0, 0);
        while pings < 64 {
            match peer.read().unwrap() {
                Wire::Ping(_) => pings += 1,
                Wire::Pong(_) => pongs += 1,
                Wire::Binary(_) => messages += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(pongs <= 16, "{pongs}");
        until("there is room", || connection.ping(b"again"));
        while peer.read().unwrap() != Wire::Ping("again".into()) {
            messages += 1;
        }
        assert!(messages > 0);
    });
}

#[test]
fn a_ping_goes_before_messages_that_wait() {
    limited(|| {
        let (connection, _inbox, mut peer) = connect_inbox(Config::default());
        fill_up(&connection, 64 << 10);
        let waiting = connection.stats().outbox_messages;
        assert!(waiting > 50, "{waiting}");
        assert!(connection.ping(b"now"));
        assert!(connection.close(1000, "last"));
        assert!(!connection.ping(b"too late"));
        let mut since = 0;
        loop {
            match peer.read().unwrap() {
                Wire::Ping(payload) => {
                    assert_eq!(payload, "now");
                    since = 0;
                }
                Wire::Close(frame) => {
                    assert_eq!(frame.unwrap().code, CloseCode::Normal);
                    break;
                }
                _ => since += 1,
            }
        }
        // A few messages were on their way already.
        assert!(since + 5 >= waiting, "{since} of {waiting}");
    });
}

#[test]
fn what_is_thrown_away_after_the_close_is_bounded() {
    let unit = frame(0x82, &vec![0; 1 << 20]);
    for first in [&frame(0x88, b"\x03\xe8")[..], b"\xf3\x80"] {
        let (first, unit) = (first.to_vec(), unit.clone());
        limited(move || {
            let (server, mut peer) = tcp_pair();
            let _connection = start(server, Config::default(), false);
            peer.write_all(&first).unwrap();
            let mut bytes = 0;
            while let Ok(count) = peer.write(&unit) {
                bytes += count;
            }
            // The count includes the bytes in the kernel's buffers.
            assert!(bytes < 64 << 20, "{bytes}");
        });
    }
}

#[test]
fn many_tiny_messages_that_came_with_the_handshake_all_arrive_in_order() {
    limited(|| {
        let (server, _peer) = tcp_pair();
        let config = Config {
            inbox_messages: 4,
            ..Config::default()
        };
        let inbox = Inbox::new(&config, common::threads());
        let mut parts = parts(server, config);
        parts.leftover = (0..50_000_u32)
            .flat_map(|number| frame(0x82, &number.to_be_bytes()))
            .collect();
        let connection = Connection::start(parts, Arc::clone(&inbox) as _).unwrap();
        for number in 0..50_000_u32 {
            let message = Message::Binary(number.to_be_bytes().to_vec().into());
            let deadline = Instant::now() + common::LIMIT;
            let received = inbox.wait(&connection, Some(deadline));
            assert_eq!(received, Received::Message(message));
        }
    });
}
