//! Connections whose views wait in an event loop, which attends its own sockets; and what happens while the
//! loop is late.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{os::fd::RawFd, sync::Arc, thread, time::Duration};

use common::{Peer, connect, limited, until};
use dwebsocket::{
    config::Config,
    engine::{Connection, Consumer, EventLoop, Inbox, Overflow, Received, engine},
    protocol::{Message, OpCode},
};
use tungstenite::Message as Wire;

const LIMIT: i32 = 20_000;

struct View {
    connection: Arc<Connection>,
    inbox: Arc<Inbox>,
    peer: Peer,
}

fn new_loop() -> Arc<EventLoop> {
    EventLoop::start(engine().unwrap()).unwrap()
}

fn open(event_loop: &Arc<EventLoop>) -> View {
    let config = Config::default();
    let inbox = Inbox::new(&config, Consumer::EventLoop(Arc::clone(event_loop)));
    let (connection, peer) = connect(config, Arc::clone(&inbox) as _);
    View {
        connection,
        inbox,
        peer,
    }
}

impl View {
    fn send(&mut self, text: &str) {
        self.peer.send(Wire::text(text)).unwrap();
    }

    /// Takes a message as a greenlet does.
    fn take(&self) -> Option<String> {
        match self.inbox.take_in_loop(&self.connection) {
            Received::Message(Message::Text(data)) => {
                Some(String::from_utf8(data.to_vec()).unwrap())
            }
            _ => None,
        }
    }
}

/// Waits until one of the loop's descriptors polls readable, as a hub does.
fn poll(event_loop: &EventLoop, limit: i32) -> bool {
    let (sockets, reports) = event_loop.filenos();
    let entry = |fd: RawFd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries = [entry(sockets), entry(reports)];
    // SAFETY: the pointer is to two valid entries.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, limit) };
    ready > 0
}

/// Attends until a connection is reported, and nothing is left for another round.
fn attend(event_loop: &EventLoop) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.is_empty() {
        assert!(poll(event_loop, LIMIT), "nothing comes");
        let mut left = true;
        while left {
            // A round that took long leaves sockets, of which no descriptor tells again.
            let reported;
            (reported, left) = event_loop.attend();
            ids.extend(reported);
        }
    }
    ids
}

#[test]
fn a_loop_that_attends_is_told_of_messages_for_which_a_view_waits() {
    limited(|| {
        let event_loop = new_loop();
        let mut views: Vec<_> = (0..3).map(|_| open(&event_loop)).collect();
        for round in 0..50 {
            let text = round.to_string();
            for view in &mut views {
                assert!(view.inbox.arm());
                view.send(&text);
            }
            let mut told = Vec::new();
            while told.len() < views.len() {
                told.extend(attend(&event_loop));
            }
            told.sort_unstable();
            let ids: Vec<_> = views.iter().map(|view| view.connection.id()).collect();
            assert_eq!(told, ids);
            for view in &views {
                assert_eq!(view.take(), Some(text.clone()));
            }
        }
    });
}

#[test]
fn while_the_loop_is_late_messages_arrive_and_pings_are_answered() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        assert!(view.inbox.arm());
        // The watch sleeps by the second time.
        for text in ["one", "two"] {
            view.send(text);
            until("the message is read", || view.inbox.pending() == 1);
            view.peer.send(Wire::Ping(text.into())).unwrap();
            assert_eq!(view.peer.read().unwrap(), Wire::Pong(text.into()));
            assert_eq!(view.take(), Some(text.into()));
            thread::sleep(Duration::from_millis(100));
        }
        // Whoever reads, the report waits for the loop.
        assert_eq!(attend(&event_loop), [view.connection.id()]);
    });
}

#[test]
fn a_close_is_answered_and_reported_while_the_loop_is_late() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        assert!(view.inbox.arm());
        view.peer.close(None).unwrap();
        until("the end is known", || view.connection.end().is_some());
        assert_eq!(attend(&event_loop), [view.connection.id()]);
        assert_eq!(view.take(), None);
        view.connection.acknowledge_end();
        until("the peer has the answer", || view.peer.read().is_err());
    });
}

#[test]
fn no_message_is_lost_or_doubled_when_the_loop_and_the_watch_take_turns() {
    limited(|| {
        const MESSAGES: usize = 400;
        let event_loop = new_loop();
        let mut views: Vec<_> = (0..4).map(|_| open(&event_loop)).collect();
        let peers: Vec<_> = views
            .iter_mut()
            .map(|view| view.peer.get_ref().try_clone().unwrap())
            .collect();
        let senders = thread::spawn(move || {
            use tungstenite::{WebSocket, protocol::Role};
            let mut peers: Vec<_> = peers
                .into_iter()
                .map(|peer| WebSocket::from_raw_socket(peer, Role::Client, None))
                .collect();
            for number in 0..MESSAGES {
                for peer in &mut peers {
                    peer.send(Wire::text(number.to_string())).unwrap();
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        let mut taken = [0; 4];
        let mut round = 0_u64;
        while taken != [MESSAGES; 4] {
            // Sometimes the loop is late, so that the watch reads.
            round += 1;
            thread::sleep(Duration::from_millis(if round.is_multiple_of(5) {
                15
            } else {
                0
            }));
            poll(&event_loop, 10);
            event_loop.attend();
            for (view, taken) in views.iter().zip(&mut taken) {
                while let Some(text) = view.take() {
                    assert_eq!(text, taken.to_string());
                    *taken += 1;
                }
            }
        }
        senders.join().unwrap();
    });
}

#[test]
fn answers_to_messages_that_came_together_go_out_together() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        for text in ["one", "two"] {
            view.peer.write(Wire::text(text)).unwrap();
        }
        view.peer.flush().unwrap();
        until("both are read", || view.inbox.pending() == 2);
        for _ in 0..2 {
            let text = view.take().unwrap();
            let sent = view
                .connection
                .send(OpCode::Text, text.as_bytes(), Overflow::Close);
            assert_eq!(sent, dwebsocket::engine::Sent::Done);
        }
        event_loop.write_held();
        assert_eq!(view.connection.stats().outbox_messages, 0);
        for text in ["one", "two"] {
            assert_eq!(view.peer.read().unwrap(), Wire::text(text));
        }
    });
}

#[test]
fn an_answer_that_is_held_back_goes_out_although_the_view_computes() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        for _ in 0..5 {
            view.send("one");
            view.send("two");
            until("both are read", || view.inbox.pending() == 2);
            view.take().unwrap();
            view.connection
                .send(OpCode::Text, b"answer", Overflow::Close);
            // The view never comes back, and nobody attends.
            assert_eq!(view.peer.read().unwrap(), Wire::text("answer"));
            view.take().unwrap();
        }
    });
}

#[test]
fn the_connections_of_a_loop_that_has_ended_are_served_until_they_end() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        event_loop.end();
        view.send("late");
        until("the message is read", || view.inbox.pending() == 1);
        view.connection.abort();
        drop(view);
        // Then nothing is left of the loop.
        until("the watch has ended", || {
            Arc::strong_count(&event_loop) == 1
        });
    });
}

#[test]
fn a_loop_rests_while_nothing_arrives() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        // Whoever reads, the loop or its watch: the loop is told.
        assert!(view.inbox.arm());
        view.send("x");
        assert_eq!(attend(&event_loop), [view.connection.id()]);
        assert_eq!(view.take(), Some("x".to_owned()));
        assert!(!poll(&event_loop, 50), "something wakes the loop");
    });
}

#[test]
fn the_end_is_reported_to_a_view_that_does_not_read() {
    limited(|| {
        let event_loop = new_loop();
        let mut view = open(&event_loop);
        assert!(view.inbox.arm_end());
        // A message is no end, and nobody has asked for messages.
        view.send("unread");
        until("a message has come", || {
            let (ids, _) = event_loop.attend();
            assert!(ids.is_empty(), "a message was reported");
            view.inbox.pending() == 1
        });
        assert!(!view.connection.has_ended());
        view.peer.close(None).unwrap();
        let _ = view.peer.flush();
        assert_eq!(attend(&event_loop), [view.connection.id()]);
        assert!(view.connection.has_ended());
        assert!(!view.inbox.arm_end(), "the end would not be reported again");
        assert_eq!(view.take(), Some("unread".to_owned()));
    });
}
