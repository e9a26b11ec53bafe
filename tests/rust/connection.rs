//! A connection against a peer on a real socket.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{Echo, connect, connect_inbox, fill, fill_up, limited, parts, tcp_pair, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, Inbox, Overflow, Received, Sent},
    protocol::{Message, OpCode},
};
use tungstenite::{
    Message as Wire,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

fn text(data: &str) -> Received {
    Received::Message(Message::Text(Bytes::copy_from_slice(data.as_bytes())))
}

fn wait(connection: &Connection, inbox: &Inbox) -> Received {
    let received = inbox.wait(connection, Some(Instant::now() + common::LIMIT));
    if received == Received::End {
        connection.acknowledge_end();
    }
    received
}

fn close_code(peer: &mut common::Peer) -> u16 {
    loop {
        match peer.read() {
            Ok(Wire::Close(Some(CloseFrame { code, .. }))) => return code.into(),
            Ok(Wire::Close(None)) => return 1005,
            Ok(_) => {}
            Err(error) => panic!("no Close frame: {error}"),
        }
    }
}

#[test]
fn messages_of_every_size_come_back() {
    limited(|| {
        let (_connection, mut peer) = connect(Config::default(), Arc::new(Echo));
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let data = Bytes::from(vec![b'x'; size]);
            peer.send(Wire::Binary(data.clone())).unwrap();
            assert_eq!(peer.read().unwrap(), Wire::Binary(data));
        }
    });
}

#[test]
fn many_in_flight_keep_their_order() {
    limited(|| {
        let (_connection, mut peer) = connect(Config::default(), Arc::new(Echo));
        for n in 0..5_000 {
            peer.write(Wire::text(n.to_string())).unwrap();
        }
        peer.flush().unwrap();
        for n in 0..5_000 {
            assert_eq!(peer.read().unwrap(), Wire::text(n.to_string()));
        }
    });
}

#[test]
fn the_head_goes_out_first_and_leftover_bytes_are_read_first() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let mut parts = parts(server, Config::default());
        parts.head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        // A masked text frame "Hello" (RFC 6455 section 5.7).
        parts.leftover = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec();
        let _connection = Connection::start(parts, Arc::new(Echo)).unwrap();
        let mut answer = [0; 36 + 7];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(
            &answer[..],
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05Hello"
        );
    });
}

/// The time limit of the handshake applies to the head only, and not to the messages that follow it.
#[test]
fn a_peer_that_reads_late_has_answered_the_handshake_all_the_same() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let config = Config {
            handshake_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let mut parts = parts(server, config);
        parts.head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let connection = Connection::start(parts, Arc::new(Echo)).unwrap();
        let block = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while connection.send(OpCode::Binary, &block, Overflow::Refuse) == Sent::Done {
            sent += 1;
        }
        // If the time limit applied, it would have ended the connection by now.
        thread::sleep(Duration::from_millis(300));
        let mut all = vec![0; 36 + sent * (10 + block.len())];
        peer.read_exact(&mut all).unwrap();
        assert!(connection.end().is_none(), "{:?}", connection.end());
    });
}

#[test]
fn threads_may_send_at_once_and_frames_stay_whole() {
    limited(|| {
        let (connection, _inbox, mut peer) = connect_inbox(Config::default());
        let threads: Vec<_> = (0..4u8)
            .map(|n| {
                let connection = Arc::clone(&connection);
                thread::spawn(move || {
                    for _ in 0..200 {
                        let payload = vec![b'a' + n; 3_000 * usize::from(n) + 1];
                        while connection.send(OpCode::Text, &payload, Overflow::Refuse)
                            == Sent::Full
                        {
                            connection.wait_for_room(payload.len(), None);
                        }
                    }
                })
            })
            .collect();
        for _ in 0..800 {
            let Wire::Text(message) = peer.read().unwrap() else {
                panic!("not a text message")
            };
            let first = message.as_bytes()[0];
            assert!(message.as_bytes().iter().all(|byte| *byte == first));
            assert_eq!(message.len(), 3_000 * usize::from(first - b'a') + 1);
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_peers_close_is_answered_with_its_code_after_the_messages_before_it() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config::default());
        peer.write(Wire::text("last")).unwrap();
        peer.close(Some(CloseFrame {
            code: CloseCode::Library(4001),
            reason: "bye".into(),
        }))
        .unwrap();
        assert_eq!(wait(&connection, &inbox), text("last"));
        // The view replies before it receives again; the reply must reach the peer.
        assert_eq!(
            connection.send(OpCode::Text, b"reply", Overflow::Close),
            Sent::Done
        );
        assert_eq!(wait(&connection, &inbox), Received::End);
        assert_eq!(peer.read().unwrap(), Wire::text("reply"));
        assert_eq!(close_code(&mut peer), 4001);
        let end = connection.end().unwrap();
        assert_eq!((end.code, end.reason.as_str()), (4001, "bye"));
        assert_eq!(
            connection.send(OpCode::Text, b"late", Overflow::Close),
            Sent::Closed
        );
    });
}

#[test]
fn a_close_without_a_code_is_1005_and_answered_without_one() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config::default());
        peer.close(None).unwrap();
        assert_eq!(wait(&connection, &inbox), Received::End);
        assert_eq!(close_code(&mut peer), 1005);
        assert_eq!(connection.end().unwrap().code, 1005);
    });
}

#[test]
fn a_view_that_only_sends_gets_the_close_answered_after_a_moment() {
    limited(|| {
        let (connection, _inbox, mut peer) = connect_inbox(Config::default());
        peer.close(None).unwrap();
        assert_eq!(close_code(&mut peer), 1005);
        assert!(connection.has_ended());
    });
}

#[test]
fn a_local_close_wakes_the_waiter_and_ends_with_the_peers_answer() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config::default());
        let waiter = {
            let (connection, inbox) = (Arc::clone(&connection), Arc::clone(&inbox));
            thread::spawn(move || wait(&connection, &inbox))
        };
        assert!(connection.close(1000, "done"));
        assert!(!connection.close(1000, "again"));
        assert_eq!(waiter.join().unwrap(), Received::End);
        assert_eq!(close_code(&mut peer), 1000);
        assert!(peer.read().is_err());
    });
}

#[test]
fn nothing_follows_the_close_frame() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let config = Config::default();
        let inbox = Inbox::new(&config, common::threads());
        let connection = Connection::start(parts(server, config), inbox).unwrap();
        connection.send(OpCode::Text, b"x", Overflow::Close);
        connection.close(1000, "");
        connection.send(OpCode::Text, b"y", Overflow::Close);
        connection.ping(b"z");
        peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"\x81\x01x\x88\x02\x03\xe8");
    });
}

#[test]
fn a_vanished_peer_is_1006() {
    for how in ["fin", "reset"] {
        limited(move || {
            let (connection, inbox, peer) = connect_inbox(Config::default());
            let stream = peer.get_ref();
            if how == "fin" {
                stream.shutdown(Shutdown::Both).unwrap();
            } else {
                socket2::SockRef::from(stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            drop(peer);
            assert_eq!(wait(&connection, &inbox), Received::End);
            assert_eq!(connection.end().unwrap().code, 1006);
        });
    }
}

/// A peer that says what it has to say, and goes: the answers of the view then fail, one after the other.
#[test]
fn a_failed_write_loses_nothing_that_has_arrived() {
    for answer in ["a message", "a ping"] {
        limited(move || {
            let (connection, inbox, mut peer) = connect_inbox(Config {
                inbox_messages: 4,
                ..Config::default()
            });
            // They are sent at once, so that all of them have arrived when the first answer fails.
            for n in 0..500 {
                peer.write(Wire::text(n.to_string())).unwrap();
            }
            let code = CloseCode::Library(4001);
            let reason = "".into();
            peer.close(Some(CloseFrame { code, reason })).unwrap();
            drop(peer);
            for n in 0..500 {
                assert_eq!(wait(&connection, &inbox), text(&n.to_string()));
                if answer == "a ping" {
                    connection.ping(b"there?");
                } else {
                    connection.send(OpCode::Text, b"thanks", Overflow::Refuse);
                }
                if n < 5 {
                    // The reset that answers the first of them arrives.
                    thread::sleep(Duration::from_millis(10));
                }
            }
            assert_eq!(wait(&connection, &inbox), Received::End);
            assert_eq!(connection.end().unwrap().code, 4001);
        });
    }
}

#[test]
fn a_view_that_takes_nothing_hears_of_a_failed_write_in_time() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config {
            inbox_messages: 4,
            close_timeout: Duration::from_millis(100),
            ..Config::default()
        });
        for n in 0..500 {
            peer.send(Wire::text(n.to_string())).unwrap();
        }
        drop(peer);
        until("the view hears of the end", || {
            connection.ping(b"there?");
            connection.has_ended()
        });
        assert_eq!(connection.end().unwrap().code, 1006);
        assert_eq!(inbox.pending(), 4);
    });
}

#[test]
fn a_protocol_error_is_told_after_the_messages_before_it() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let config = Config::default();
        let inbox = Inbox::new(&config, common::threads());
        let connection = Connection::start(parts(server, config), Arc::clone(&inbox) as _).unwrap();
        // The peer sends a good frame, then one with a reserved bit.
        peer.write_all(b"\x81\x81\0\0\0\0a\xc1\x81\0\0\0\0b")
            .unwrap();
        assert_eq!(wait(&connection, &inbox), text("a"));
        connection.send(OpCode::Text, b"a", Overflow::Close);
        assert_eq!(wait(&connection, &inbox), Received::End);
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(&all[..3], b"\x81\x01a");
        assert_eq!((all[3], &all[5..7]), (0x88, &b"\x03\xea"[..]));
        let end = connection.end().unwrap();
        assert_eq!(end.code, 1002);
        assert!(end.error.is_some());
        assert_eq!(end.error.unwrap(), end.reason);
    });
}

#[test]
fn a_full_inbox_stops_reading_and_nothing_is_lost() {
    limited(|| {
        let config = Config {
            inbox_messages: 4,
            ..Config::default()
        };
        let (connection, inbox, mut peer) = connect_inbox(config);
        let writer = thread::spawn(move || {
            for n in 0..1_000 {
                peer.send(Wire::text(n.to_string())).unwrap();
            }
            peer
        });
        for n in 0..1_000 {
            assert_eq!(wait(&connection, &inbox), text(&n.to_string()));
            assert!(inbox.pending() <= 4);
        }
        writer.join().unwrap();
    });
}

#[test]
fn the_policies_of_a_full_outbox() {
    for (overflow, expected, dropped) in [
        (Overflow::Close, Sent::Overflowed, None),
        (Overflow::DropNewest, Sent::Dropped, Some(1)),
        (Overflow::DropOldest, Sent::DroppedOldest(1), Some(1)),
        (Overflow::Refuse, Sent::Full, Some(0)),
    ] {
        limited(move || {
            let config = Config {
                outbox_bytes: 1 << 20,
                ..Config::default()
            };
            let (connection, _inbox, peer) = connect_inbox(config);
            assert_eq!(fill(&connection, overflow), expected);
            let stats = connection.stats();
            assert!(stats.outbox_bytes <= (1 << 20) + (128 << 10), "{stats:?}");
            if let Some(dropped) = dropped {
                assert_eq!(stats.dropped_messages, dropped);
            } else {
                assert!(connection.has_ended());
                assert_eq!(connection.end().unwrap().code, 1013);
            }
            drop(peer);
        });
    }
}

#[test]
fn a_blocked_sender_goes_on_when_the_peer_reads() {
    limited(|| {
        let config = Config {
            outbox_bytes: 1 << 20,
            ..Config::default()
        };
        let (connection, _inbox, mut peer) = connect_inbox(config);
        fill_up(&connection, 64 * 1024);
        let reader = thread::spawn(move || {
            // The kernel reports the socket writable only when much of its buffer is free.
            while peer.read().unwrap() != Wire::text("last") {}
            peer
        });
        assert!(connection.wait_for_room(64 * 1024, None));
        assert_eq!(
            connection.send(OpCode::Text, b"last", Overflow::Refuse),
            Sent::Done
        );
        reader.join().unwrap();
    });
}

#[test]
fn a_last_message_and_the_end_that_arrive_together_are_both_noticed() {
    limited(|| {
        for _ in 0..50 {
            let (connection, inbox, mut peer) = connect_inbox(Config::default());
            peer.send(Wire::text("last")).unwrap();
            drop(peer);
            let soon = Some(Instant::now() + Duration::from_secs(10));
            let last = Received::Message(Message::Text("last".into()));
            assert_eq!(inbox.wait(&connection, soon), last);
            assert_eq!(inbox.wait(&connection, soon), Received::End);
            assert_eq!(connection.end().unwrap().code, 1006);
        }
    });
}

#[test]
fn a_blocked_sender_is_released_by_the_end() {
    limited(|| {
        let config = Config {
            outbox_bytes: 1 << 20,
            ..Config::default()
        };
        let (connection, _inbox, peer) = connect_inbox(config);
        fill(&connection, Overflow::Refuse);
        let blocked = {
            let connection = Arc::clone(&connection);
            thread::spawn(move || connection.wait_for_room(64 * 1024, None))
        };
        drop(peer);
        assert!(blocked.join().unwrap());
        assert_eq!(
            connection.send(OpCode::Text, b"", Overflow::Refuse),
            Sent::Closed
        );
    });
}

#[test]
fn pings_are_answered_and_latency_is_measured() {
    limited(|| {
        let config = Config {
            ping_interval: Some(Duration::from_millis(20)),
            ..Config::default()
        };
        let (connection, _inbox, mut peer) = connect_inbox(config);
        peer.send(Wire::Ping("hi".into())).unwrap();
        let mut answered = false;
        // The peer's library answers pings while it reads.
        while connection.latency().is_none() || !answered {
            match peer.read().unwrap() {
                Wire::Pong(payload) => answered = payload == "hi".as_bytes(),
                Wire::Ping(_) => peer.flush().unwrap(),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_ping_of_the_applications_measures_latency_too() {
    limited(|| {
        let (connection, _inbox, mut peer) = connect_inbox(Config::default());
        assert!(connection.ping(b"mine"));
        assert_eq!(peer.read().unwrap(), Wire::Ping("mine".into()));
        // The peer's library has the pong ready; `flush` writes it.
        peer.flush().unwrap();
        until("the pong is back", || connection.latency().is_some());
    });
}

#[test]
fn a_peer_that_answers_no_ping_is_dropped() {
    limited(|| {
        let config = Config {
            ping_interval: Some(Duration::from_millis(20)),
            ping_timeout: Duration::from_millis(50),
            ..Config::default()
        };
        let (connection, inbox, _peer) = connect_inbox(config);
        assert_eq!(wait(&connection, &inbox), Received::End);
        let end = connection.end().unwrap();
        assert_eq!(end.code, 1006);
        assert!(end.error.unwrap().contains("ping"));
    });
}

#[test]
fn a_peer_that_dribbles_bytes_and_answers_no_ping_is_dropped() {
    limited(|| {
        let (server, mut peer) = tcp_pair();
        let config = Config {
            ping_interval: Some(Duration::from_millis(20)),
            ping_timeout: Duration::from_millis(100),
            ..Config::default()
        };
        let inbox = Inbox::new(&config, common::threads());
        let connection = Connection::start(parts(server, config), Arc::clone(&inbox) as _).unwrap();
        // The header of a message of 64 KiB less one byte. Its payload then arrives byte by byte.
        peer.write_all(b"\x82\xfe\xff\xff\0\0\0\0").unwrap();
        let dribble = thread::spawn(move || {
            while peer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert_eq!(wait(&connection, &inbox), Received::End);
        assert_eq!(connection.end().unwrap().code, 1006);
        dribble.join().unwrap();
    });
}

#[test]
fn an_idle_connection_is_closed_with_1001() {
    limited(|| {
        let config = Config {
            idle_timeout: Some(Duration::from_millis(50)),
            ..Config::default()
        };
        let (_connection, _inbox, mut peer) = connect_inbox(config);
        assert_eq!(close_code(&mut peer), 1001);
    });
}

#[test]
fn a_peer_that_does_not_answer_the_close_is_cut_off() {
    limited(|| {
        let config = Config {
            close_timeout: Duration::from_millis(50),
            ..Config::default()
        };
        let (connection, _inbox, mut peer) = connect_inbox(config);
        connection.close(1000, "");
        let mut all = Vec::new();
        peer.get_mut().read_to_end(&mut all).unwrap();
        assert_eq!(all, b"\x88\x02\x03\xe8");
    });
}

#[test]
fn a_descriptor_polls_readable_while_something_waits() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config::default());
        let fd = inbox.fileno().unwrap();
        let readable = |millis| {
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: the pointer is to one valid pollfd.
            #[allow(unsafe_code)]
            let ready = unsafe { libc::poll(&raw mut poll, 1, millis) };
            ready == 1
        };
        assert!(!readable(0));
        peer.send(Wire::text("x")).unwrap();
        assert!(readable(10_000));
        assert_eq!(inbox.poll(&connection), text("x"));
        assert!(!readable(0));
        drop(peer);
        assert!(readable(10_000));
        assert_eq!(inbox.poll(&connection), Received::End);
    });
}

#[test]
fn what_waits_when_the_peer_says_close_still_goes_out() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_inbox(Config {
            outbox_bytes: 64 << 20,
            outbox_messages: 100_000,
            ..Config::default()
        });
        // Send far more than the send buffer and the peer's receive buffer can hold.
        let mut sent = 0;
        while connection.stats().outbox_messages < 2_000 {
            let message = format!("{sent:010000}");
            let done = connection.send(OpCode::Text, message.as_bytes(), Overflow::Refuse);
            assert_eq!(done, Sent::Done);
            sent += 1;
        }
        peer.close(None).unwrap();
        assert_eq!(wait(&connection, &inbox), Received::End);
        for number in 0..sent {
            assert_eq!(peer.read().unwrap(), Wire::text(format!("{number:010000}")));
        }
        assert_eq!(close_code(&mut peer), 1005);
    });
}

#[test]
fn whoever_waits_for_room_is_told_whoever_makes_it() {
    limited(|| {
        for _ in 0..20 {
            let (connection, _inbox, mut peer) = connect_inbox(Config {
                outbox_messages: 4,
                ..Config::default()
            });
            let sender = thread::spawn(move || {
                // The courier writes the messages, because they are sent in a row.
                for number in 0..2_000 {
                    let message = format!("{number}");
                    while connection.send(OpCode::Text, message.as_bytes(), Overflow::Refuse)
                        == Sent::Full
                    {
                        assert!(connection.wait_for_room(1, Some(Instant::now() + common::LIMIT)));
                    }
                }
            });
            for number in 0..2_000 {
                assert_eq!(peer.read().unwrap(), Wire::text(format!("{number}")));
            }
            sender.join().unwrap();
        }
    });
}
