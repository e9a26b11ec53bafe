//! The turnstile wakes threads in turn, also if a view keeps its turn.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::{Peer, connect, limited, until};
use dwebsocket::{
    config::Config,
    engine::engine,
    engine::{Connection, Consumer, Handler, Inbox, Overflow, Received, Turnstile},
    protocol::{Message, OpCode},
};
use tungstenite::Message as Wire;

/// A connection whose inbox uses the engine's turnstile.
fn connect_in_line() -> (Arc<Connection>, Arc<Inbox>, Peer) {
    let turnstile = Arc::clone(engine().unwrap().turnstile());
    let inbox = Inbox::new(&Config::default(), Consumer::Threads(turnstile));
    let (connection, peer) = connect(Config::default(), Arc::clone(&inbox) as Arc<dyn Handler>);
    (connection, inbox, peer)
}

/// A view that echoes in a thread of its own until the end.
fn echo_view(connection: Arc<Connection>, inbox: Arc<Inbox>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let deadline = Instant::now() + common::LIMIT;
        let mut count = 0;
        while let Received::Message(Message::Text(data) | Message::Binary(data)) =
            inbox.wait(&connection, Some(deadline))
        {
            connection.send(OpCode::Text, &data, Overflow::Close);
            count += 1;
        }
        count
    })
}

#[test]
fn a_crowd_is_served_and_nobody_is_forgotten() {
    limited(|| {
        let mut crowd: Vec<_> = (0..100)
            .map(|_| {
                let (connection, inbox, peer) = connect_in_line();
                (peer, echo_view(connection, inbox))
            })
            .collect();
        for round in 0..20 {
            let text = round.to_string();
            for (peer, _) in &mut crowd {
                peer.send(Wire::text(&text)).unwrap();
            }
            for (peer, _) in &mut crowd {
                assert_eq!(peer.read().unwrap(), Wire::text(&text));
            }
        }
        for (mut peer, view) in crowd {
            peer.close(None).unwrap();
            assert_eq!(view.join().unwrap(), 20);
        }
    });
}

#[test]
fn what_is_sent_in_a_crowd_arrives_whole_and_in_order() {
    limited(|| {
        let large = "x".repeat(20_000);
        let crowd: Vec<_> = (0..100)
            .map(|_| {
                let (connection, inbox, peer) = connect_in_line();
                let large = large.clone();
                let view = thread::spawn(move || {
                    let deadline = Instant::now() + common::LIMIT;
                    while let Received::Message(Message::Text(data)) =
                        inbox.wait(&connection, Some(deadline))
                    {
                        for answer in [&data, large.as_bytes(), &data] {
                            connection.send(OpCode::Text, answer, Overflow::Close);
                        }
                        if &*data == b"19" {
                            connection.close(1000, "enough");
                        }
                    }
                });
                (peer, view)
            })
            .collect();
        let mut peers = Vec::new();
        for (mut peer, view) in crowd {
            for round in 0..20 {
                peer.send(Wire::text(round.to_string())).unwrap();
            }
            peers.push((peer, view));
        }
        for (mut peer, view) in peers {
            for round in 0..20 {
                let small = Wire::text(round.to_string());
                assert_eq!(peer.read().unwrap(), small);
                assert_eq!(peer.read().unwrap(), Wire::text(&large));
                assert_eq!(peer.read().unwrap(), small);
            }
            assert!(peer.read().unwrap().is_close());
            view.join().unwrap();
        }
    });
}

#[test]
fn views_that_keep_their_turn_hold_nobody_up() {
    limited(|| {
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let mut peers = Vec::new();
        let blocked: Vec<_> = (0..10)
            .map(|_| {
                let (connection, inbox, mut peer) = connect_in_line();
                let released = Arc::clone(&released);
                let (started, has_started) = mpsc::channel();
                let view = thread::spawn(move || {
                    inbox.wait(&connection, None);
                    started.send(()).unwrap();
                    // The view is busy and does not receive again.
                    released.lock().unwrap().recv().unwrap();
                });
                peer.send(Wire::text("go")).unwrap();
                peers.push(peer);
                has_started.recv().unwrap();
                view
            })
            .collect();
        let (connection, inbox, mut peer) = connect_in_line();
        let view = echo_view(connection, inbox);
        for _ in 0..100 {
            peer.send(Wire::text("hello")).unwrap();
            assert_eq!(peer.read().unwrap(), Wire::text("hello"));
        }
        blocked.iter().for_each(|_| release.send(()).unwrap());
        blocked.into_iter().for_each(|view| view.join().unwrap());
        peer.close(None).unwrap();
        assert_eq!(view.join().unwrap(), 100);
    });
}

#[test]
fn several_threads_may_wait_for_one_connection() {
    limited(|| {
        let (connection, inbox, mut peer) = connect_in_line();
        let views: Vec<_> = (0..4)
            .map(|_| echo_view(Arc::clone(&connection), Arc::clone(&inbox)))
            .collect();
        for _ in 0..200 {
            peer.send(Wire::text("x")).unwrap();
        }
        for _ in 0..200 {
            assert_eq!(peer.read().unwrap(), Wire::text("x"));
        }
        peer.close(None).unwrap();
        let total: usize = views.into_iter().map(|view| view.join().unwrap()).sum();
        assert_eq!(total, 200);
    });
}

#[test]
fn a_view_that_never_has_to_wait_stands_back_for_others() {
    limited(|| {
        // The test's own turnstile has no watch: a thread keeps its turn until it hands it on.
        let turnstile = Arc::<Turnstile>::default();
        let config = Config::default();
        let join = || {
            let inbox = Inbox::new(&config, Consumer::Threads(Arc::clone(&turnstile)));
            let (connection, peer) = connect(config.clone(), Arc::clone(&inbox) as _);
            (connection, inbox, peer)
        };
        let deadline = Some(Instant::now() + common::LIMIT);
        let (flooded, many, mut flooder) = join();
        let (other, few, mut neighbour) = join();
        // The view of the flooded connection waits long before the message arrives, and so gets the turn.
        let sending = thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            flooder.send(Wire::text("first")).unwrap();
            flooder
        });
        let first = many.wait(&flooded, deadline);
        assert!(matches!(first, Received::Message(_)));
        let mut flooder = sending.join().unwrap();
        for number in 0..200 {
            flooder.send(Wire::text(number.to_string())).unwrap();
        }
        until("all have come", || many.pending() == 200);
        // No other thread waits, so the view need not stand back.
        for _ in 0..50 {
            thread::sleep(Duration::from_micros(100));
            assert_ne!(many.take(&flooded), Received::Nothing);
        }
        let (told, heard) = mpsc::channel();
        let waiter = thread::spawn(move || {
            let received = few.wait(&other, deadline);
            told.send(()).unwrap();
            // Receiving again hands the turn on.
            few.poll(&other);
            received
        });
        // The neighbour's view must wait before its message arrives; otherwise it needs no turn.
        thread::sleep(Duration::from_millis(200));
        neighbour.send(Wire::text("me, too")).unwrap();
        // Sooner or later the flooded view gets no message, although some are pending.
        until("it is to stand back", || {
            many.pending() < 100 || many.take(&flooded) == Received::Nothing
        });
        assert!(many.pending() >= 100);
        assert!(heard.try_recv().is_err());
        assert!(matches!(
            many.wait(&flooded, deadline),
            Received::Message(_)
        ));
        heard.recv_timeout(common::LIMIT).unwrap();
        assert!(matches!(waiter.join().unwrap(), Received::Message(_)));
    });
}

#[test]
fn a_view_that_ends_with_unread_messages_hands_its_turn_on() {
    limited(|| {
        let (leaving, first, mut sender) = connect_in_line();
        let (other, second, mut neighbour) = connect_in_line();
        let deadline = Some(Instant::now() + common::LIMIT);
        let waiter = {
            let (leaving, first) = (Arc::clone(&leaving), Arc::clone(&first));
            thread::spawn(move || first.wait(&leaving, deadline))
        };
        sender.send(Wire::text("read")).unwrap();
        assert!(matches!(waiter.join().unwrap(), Received::Message(_)));
        sender.send(Wire::text("unread")).unwrap();
        until("it has come", || first.pending() == 1);
        let waiter = thread::spawn(move || second.wait(&other, deadline));
        thread::sleep(Duration::from_millis(100));
        neighbour.send(Wire::text("me, too")).unwrap();
        first.leave_turn();
        assert!(matches!(waiter.join().unwrap(), Received::Message(_)));
        assert_eq!(first.pending(), 1, "leaving takes no message");
    });
}
