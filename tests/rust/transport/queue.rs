//! Behaviour that only the queue transport has: it tells an event loop about messages and room.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dwebsocket::{
    config::Config,
    engine::{
        Capacity, Connection, Consumer, EventLoop, FarEnd, Handler, Inbox, Overflow, Pushed,
        QueueParts, Received, Sent, Wakeup, engine,
    },
    hub::{Outgoing, PayloadKind, Target, hub},
    protocol::{CloseFrame, Event, Message, OpCode},
    runtime::WakeQueue,
};

use crate::common::{Echo, LIMIT, limited, until};

const FRAMES: usize = 4;

fn connect(handler: Arc<dyn Handler>) -> (Arc<Connection>, FarEnd, Arc<WakeQueue>) {
    let queue = Arc::new(WakeQueue::new().unwrap());
    let parts = QueueParts {
        capacity: Capacity {
            frames: FRAMES,
            bytes: 1024,
        },
        wakeup: Some(Wakeup {
            queue: Arc::clone(&queue),
            token: 7,
        }),
        config: Arc::new(Config::default()),
        permit: None,
    };
    let (connection, far) = Connection::over_queue(parts, handler).unwrap();
    (connection, far, queue)
}

fn text(data: &'static str) -> Event {
    Event::Message(Message::Text(data.into()))
}

fn told(wake: &WakeQueue) -> Vec<u64> {
    wake.drain()
}

#[test]
fn an_event_loop_is_told_once_of_what_waits() {
    limited(|| {
        let (connection, far, wake) = connect(Arc::new(Echo));
        assert!(far.arm());
        for _ in 0..3 {
            connection.send(OpCode::Text, b"x", Overflow::Close);
        }
        assert_eq!(told(&wake), [7]);
        assert!(!far.arm(), "something waits already");
        // The courier writes messages that are sent in a row.
        until("all three wait", || connection.stats().outbox_messages == 0);
        assert_eq!(far.drain(2), [text("x"), text("x")]);
        assert_eq!(far.drain(2), [text("x")]);
        assert!(far.arm());
        connection.send(OpCode::Text, b"y", Overflow::Close);
        until("it is told again", || told(&wake) == [7]);
    });
}

#[test]
fn an_event_loop_is_told_of_the_end() {
    limited(|| {
        let (connection, far, wake) = connect(Arc::new(Echo));
        assert!(far.arm());
        connection.abort();
        until("it is told", || told(&wake) == [7]);
        assert!(far.is_over());
        assert!(!far.arm());
        assert_eq!(far.push(text("late")), Pushed::Closed);
    });
}

#[test]
fn both_directions_are_bounded_and_tell_of_room() {
    limited(|| {
        let config = Config {
            inbox_messages: 1,
            ..Config::default()
        };
        let inbox = Inbox::new(&config, Consumer::Threads(Arc::default()));
        let (connection, far, wake) = connect(Arc::clone(&inbox) as _);
        // The inbox takes one message, the queue four.
        let mut pushed = 0;
        until("the queue is full", || {
            let full = far.push(text("in")) == Pushed::Full;
            pushed += usize::from(!full);
            full && inbox.pending() == 1
        });
        assert_eq!(pushed, FRAMES + 1);
        assert!(far.arm_room());
        let deadline = Some(Instant::now() + LIMIT);
        inbox.wait(&connection, deadline);
        until("there is room", || told(&wake) == [7]);
        assert_eq!(far.push(text("in")), Pushed::Done);
        assert!(!far.arm_room());
        // In the other direction, four messages wait in the queue and the others in the outbox.
        for _ in 0..10 {
            let sent = connection.send(OpCode::Text, b"out", Overflow::Close);
            assert_eq!(sent, Sent::Done);
        }
        let left = 10 - FRAMES as u64;
        until("the queue is full", || {
            connection.stats().outbox_messages == left
        });
        let mut drained = 0;
        until("all came", || {
            let frames = far.drain(100);
            assert!(frames.len() <= FRAMES);
            drained += frames.len();
            drained == 10
        });
    });
}

#[test]
fn a_message_that_is_longer_than_the_queue_passes_alone() {
    limited(|| {
        let (connection, far, _wake) = connect(Arc::new(Echo));
        let long = vec![b'x'; 4096];
        connection.send(OpCode::Text, b"first", Overflow::Close);
        connection.send(OpCode::Binary, &long, Overflow::Close);
        assert_eq!(far.drain(100), [text("first")]);
        assert!(far.wait(Instant::now() + LIMIT));
        let frames = far.drain(100);
        assert_eq!(frames, [Event::Message(Message::Binary(long.into()))]);
    });
}

#[test]
fn text_that_is_not_utf_8_closes_with_1007() {
    limited(|| {
        let (connection, far, _wake) = connect(Arc::new(Echo));
        far.push(Event::Message(Message::Text([0xff].as_slice().into())));
        until("it has failed", || connection.end().is_some());
        assert_eq!(connection.end().unwrap().code, 1007);
    });
}

/// Waits until a wake queue's descriptor polls readable, as an event loop does.
fn poll(wake: &WakeQueue) -> Vec<u64> {
    let mut poll = libc::pollfd {
        fd: wake.fileno(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is to one valid pollfd.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::poll(&raw mut poll, 1, 20_000) };
    assert_eq!(ready, 1, "nothing comes");
    wake.drain()
}

/// One event loop serves the view and the far end through one descriptor, without a thread.
#[test]
fn one_event_loop_drives_both_ends() {
    limited(|| {
        let event_loop = EventLoop::start(engine().unwrap()).unwrap();
        let wake = Arc::clone(event_loop.queue());
        let config = Config::default();
        let inbox = Inbox::new(&config, Consumer::EventLoop(event_loop));
        let parts = QueueParts {
            capacity: Capacity::default(),
            wakeup: Some(Wakeup {
                queue: Arc::clone(&wake),
                token: u64::MAX,
            }),
            config: Arc::new(config),
            permit: None,
        };
        let (connection, far) = Connection::over_queue(parts, Arc::clone(&inbox) as _).unwrap();
        for n in 0..100 {
            let event = Event::Message(Message::Text(format!("{n}").into()));
            assert!(inbox.arm() && far.arm());
            assert_eq!(far.push(event.clone()), Pushed::Done);
            assert_eq!(poll(&wake), [connection.id()]);
            let Received::Message(Message::Text(data)) = inbox.poll(&connection) else {
                panic!("no message");
            };
            connection.send(OpCode::Text, &data, Overflow::Close);
            assert_eq!(poll(&wake), [u64::MAX]);
            assert_eq!(far.drain(10), [event]);
        }
        assert!(inbox.arm() && far.arm());
        far.push(Event::Close(None));
        assert_eq!(poll(&wake), [connection.id()]);
        assert_eq!(inbox.poll(&connection), Received::End);
        connection.acknowledge_end();
        assert_eq!(poll(&wake), [u64::MAX]);
        assert_eq!(far.drain(10), [Event::Close(None)]);
        until("the connection is gone", || far.is_over());
    });
}

#[test]
fn what_was_pushed_before_the_far_end_hangs_up_is_delivered() {
    limited(|| {
        let config = Config {
            inbox_messages: 1,
            ..Config::default()
        };
        let inbox = Inbox::new(&config, Consumer::Threads(Arc::default()));
        let (connection, far, _wake) = connect(Arc::clone(&inbox) as _);
        let deadline = Some(Instant::now() + LIMIT);
        for _ in 0..3 {
            assert_eq!(far.push(text("in")), Pushed::Done);
        }
        let (code, reason) = (4001, String::from("bye"));
        let close = Event::Close(Some(CloseFrame { code, reason }));
        until("there is room", || far.push(close.clone()) == Pushed::Done);
        drop(far);
        for _ in 0..3 {
            let Received::Message(_) = inbox.wait(&connection, deadline) else {
                panic!("a message is lost");
            };
            connection.send(OpCode::Text, b"answer", Overflow::Close);
        }
        assert_eq!(inbox.wait(&connection, deadline), Received::End);
        assert_eq!(connection.end().unwrap().code, 4001);
    });
}

fn out(far: &FarEnd) -> Vec<Event> {
    far.drain(100)
}

#[test]
fn an_event_loop_has_a_frame_handled_in_its_own_thread() {
    limited(|| {
        let inbox = Inbox::new(&Config::default(), Consumer::Threads(Arc::default()));
        let (connection, far, _wake) = connect(Arc::clone(&inbox) as _);
        for _ in 0..200 {
            assert_eq!(connection.hear(&far, text("in")), Pushed::Done);
            // Nobody has been waited for.
            assert_eq!(inbox.pending(), 1);
            let Received::Message(_) = inbox.poll(&connection) else {
                panic!("no message");
            };
        }
        let (code, reason) = (4001, String::from("bye"));
        let close = Event::Close(Some(CloseFrame { code, reason }));
        assert_eq!(connection.hear(&far, close), Pushed::Done);
        assert_eq!(connection.end().unwrap().code, 4001);
        assert_eq!(inbox.poll(&connection), Received::End);
        connection.acknowledge_end();
        until("it is over", || {
            let _ = out(&far);
            far.is_over()
        });
        assert_eq!(connection.hear(&far, text("late")), Pushed::Closed);
    });
}

#[test]
fn frames_that_are_heard_wait_while_the_inbox_is_full() {
    limited(|| {
        let (connection, inbox, far, wake) = full();
        assert!(far.arm_room());
        let deadline = Some(Instant::now() + LIMIT);
        for _ in 0..=FRAMES {
            let Received::Message(_) = inbox.wait(&connection, deadline) else {
                panic!("a message is lost");
            };
        }
        assert_eq!(poll(&wake), [7]);
        assert_eq!(connection.hear(&far, text("in")), Pushed::Done);
        assert_eq!(inbox.pending(), 1);
    });
}

/// A connection whose inbox is full, and whose queue is full as well.
fn full() -> (Arc<Connection>, Arc<Inbox>, FarEnd, Arc<WakeQueue>) {
    let config = Config {
        inbox_messages: 1,
        ..Config::default()
    };
    let inbox = Inbox::new(&config, Consumer::Threads(Arc::default()));
    let (connection, far, wake) = connect(Arc::clone(&inbox) as _);
    for _ in 0..=FRAMES {
        assert_eq!(connection.hear(&far, text("in")), Pushed::Done);
    }
    assert_eq!(connection.hear(&far, text("in")), Pushed::Full);
    (connection, inbox, far, wake)
}

/// Takes what a full connection has, and its end; returns the code.
fn taken(connection: &Arc<Connection>, inbox: &Inbox) -> u16 {
    let deadline = Some(Instant::now() + LIMIT);
    for _ in 0..=FRAMES {
        let Received::Message(_) = inbox.wait(connection, deadline) else {
            panic!("a message is lost");
        };
    }
    assert_eq!(inbox.wait(connection, deadline), Received::End);
    connection.end().unwrap().code
}

#[test]
fn there_is_always_room_for_a_close() {
    limited(|| {
        let (connection, inbox, far, _wake) = full();
        let (code, reason) = (4001, String::from("bye"));
        let close = Event::Close(Some(CloseFrame { code, reason }));
        assert_eq!(connection.hear(&far, close), Pushed::Done);
        drop(far);
        assert_eq!(taken(&connection, &inbox), 4001);
    });
}

/// A server takes one frame after the other: its pace is not that of their bytes.
#[test]
fn short_frames_before_a_close_are_drained_however_long_that_takes() {
    limited(|| {
        let config = Config {
            close_timeout: Duration::from_millis(200),
            ..Config::default()
        };
        let parts = QueueParts {
            capacity: Capacity::default(),
            wakeup: None,
            config: Arc::new(config),
            permit: None,
        };
        let (connection, far) = Connection::over_queue(parts, Arc::new(Echo)).unwrap();
        for _ in 0..300 {
            connection.send(OpCode::Text, b"x", Overflow::Close);
        }
        connection.close(1000, "");
        for _ in 0..300 {
            thread::sleep(Duration::from_millis(3));
            assert!(far.wait(Instant::now() + LIMIT));
            assert_eq!(far.drain(1), [text("x")]);
        }
        assert!(far.wait(Instant::now() + LIMIT));
        assert!(matches!(far.drain(1)[..], [Event::Close(Some(_))]));
    });
}

#[test]
fn a_view_that_only_sends_hears_of_the_end_though_its_inbox_is_full() {
    limited(|| {
        let (connection, inbox, far, _wake) = full();
        far.hang_up();
        until("a send fails", || {
            connection.send(OpCode::Text, b"tick", Overflow::Close) == Sent::Closed
        });
        assert_eq!(taken(&connection, &inbox), 1006);
    });
}

/// Several threads hear for one connection; the connection's task may be at work, too.
#[test]
fn frames_of_many_threads_are_neither_lost_nor_doubled() {
    limited(|| {
        let config = Config {
            inbox_messages: 8,
            ..Config::default()
        };
        let inbox = Inbox::new(&config, Consumer::Threads(Arc::default()));
        let (connection, far, _wake) = connect(Arc::clone(&inbox) as _);
        let (threads, each) = (4, 500);
        let mut seen = std::thread::scope(|scope| {
            for thread in 0..threads {
                let (connection, far) = (&connection, &far);
                scope.spawn(move || {
                    for n in 0..each {
                        let event = Event::Message(Message::Text(format!("{thread}.{n}").into()));
                        while connection.hear(far, event.clone()) == Pushed::Full {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let deadline = Some(Instant::now() + LIMIT);
            (0..threads * each)
                .map(|_| match inbox.wait(&connection, deadline) {
                    Received::Message(Message::Text(data)) => data,
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        });
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), threads * each);
    });
}

#[test]
fn a_mailbox_gets_messages_and_counts_nowhere() {
    limited(|| {
        let inbox = Inbox::new(&Config::default(), Consumer::Threads(Arc::default()));
        let parts = QueueParts {
            capacity: Capacity::default(),
            wakeup: None,
            config: Arc::new(Config::default()),
            permit: None,
        };
        let (connection, far) = Connection::mailbox(parts, inbox).unwrap();
        let hub = hub().unwrap();
        hub.identify_within(&connection, "~mailbox", LIMIT);
        let publish = |target| {
            let outgoing = Outgoing {
                targets: vec![target],
                kind: PayloadKind::Binary,
                payload: "letter".into(),
                excluded: Vec::new(),
                timeout: LIMIT,
            };
            hub.publish(&outgoing).unwrap()
        };
        assert_eq!(publish(Target::User("~mailbox".into())).local, 1);
        assert!(far.wait(Instant::now() + LIMIT));
        assert_eq!(
            out(&far),
            [Event::Message(Message::Binary("letter".into()))]
        );
        assert!(!engine().unwrap().has(connection.id()));
        publish(Target::Everybody);
        hub.forget_user(&connection, "~mailbox");
        assert_eq!(publish(Target::User("~mailbox".into())).local, 0);
        assert_eq!(out(&far), []);
        drop(far);
        until("it has ended", || connection.end().is_some());
    });
}
