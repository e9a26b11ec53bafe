//! A child of a fork makes an engine of its own and leaves its parent's alone.
//!
//! This file has one test, and so a process of its own: a fork copies the locks that other threads hold.
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    io::Read,
    net::TcpStream,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Echo, connect, limited};
use dwebsocket::{
    config::Config,
    engine::{
        self, Call, Connection, Crew, Duty, FarEnd, Next, Overflow, Permit, Pushed, QueueParts,
        Sent,
    },
    hub,
    protocol::{Event, Message, OpCode},
};
use tungstenite::Message as Wire;

#[test]
fn parent_and_child_each_have_an_engine() {
    limited(|| {
        let permit = Permit::take(10).unwrap();
        let (connection, mut peer) = connect(Config::default(), Arc::new(Echo));
        echo(&mut peer);
        let (queued, far) = over_queue();
        echo_over_queue(&far);
        assert_eq!(hub::member_id(&connection), None);
        let id = hub::hub().unwrap().member_id(connection.id());
        // SAFETY: the child takes no lock that another thread of the parent may hold, as this test
        // proves, and ends with `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let fine = std::panic::catch_unwind(AssertUnwindSafe(|| {
                assert!(engine::running().is_none());
                assert_eq!(Permit::taken(), 0);
                assert!(connection.is_foreign());
                assert_eq!(
                    connection.send(OpCode::Text, b"x", Overflow::Close),
                    Sent::Closed
                );
                assert!(!connection.close(1000, ""));
                assert!(hub::running().is_none());
                // A view may fork and exclude its client from the child's messages.
                assert_eq!(hub::member_id(&connection).as_ref(), Some(&id));
                assert!(dwebsocket::runtime::running().is_none());
                assert!(queued.is_foreign());
                assert_eq!(far.push(hello()), Pushed::Closed);
                assert!(far.drain(1).is_empty() && !far.arm() && !far.arm_room());
                let (_own, own_far) = over_queue();
                echo_over_queue(&own_far);
                drop(own_far);
                let (own, mut peer) = connect(Config::default(), Arc::new(Echo));
                echo(&mut peer);
                assert!(own.id() > connection.id());
                assert_eq!(hub::member_id(&own), None);
                let own_id = hub::hub().unwrap().member_id(own.id());
                assert_eq!(hub::member_id(&own), Some(own_id));
                assert_eq!(hub::member_id(&connection), Some(id));
                drop(peer);
                assert_eq!(engine::engine().unwrap().stop(common::LIMIT, 1001), 0);
            }));
            // SAFETY: ends the process without running the exit handlers of the parent.
            unsafe { libc::_exit(i32::from(fine.is_err())) };
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child failed");
        // The parent's connections work after the child has ended.
        echo(&mut peer);
        echo_over_queue(&far);
        drop(permit);
        assert_eq!(Permit::taken(), 0);
        cut_off_beside_a_child(&connection, peer.get_mut());
        a_thread_that_forks_leaves_the_crew_in_the_child();
    });
}

/// A child of a fork has the socket, too, so the peer learns nothing from a close in the parent alone.
fn cut_off_beside_a_child(connection: &Connection, peer: &mut TcpStream) {
    // SAFETY: the child only waits for a signal.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: these calls may follow a fork. The child ends by itself if the test does not end it.
        unsafe {
            libc::alarm(60);
            libc::pause();
            libc::_exit(0);
        }
    }
    connection.abort();
    let end = peer.read(&mut [0]);
    // SAFETY: the child is this test's own, and the null pointer asks for no status.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    assert_eq!(end.unwrap(), 0);
}

/// Whatever thread of the parent holds the lock of the crew at the moment of the fork.
fn a_thread_that_forks_leaves_the_crew_in_the_child() {
    let crew = Crew::start(engine::engine().unwrap(), 2).unwrap();
    let Call::Lead(lead) = crew.wait_for_duty(common::LIMIT) else {
        panic!("nobody leads");
    };
    crew.line_up([1, 2]);
    let done = Arc::new(AtomicBool::new(false));
    let (busy, stop) = (Arc::clone(&crew), Arc::clone(&done));
    let thread = thread::spawn(move || {
        while !stop.load(Relaxed) {
            busy.line_up([]);
        }
    });
    for _ in 0..50 {
        // SAFETY: as above.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: ends a child that waits for a lock.
            unsafe { libc::alarm(2) };
            let duty = Duty::Lead(lead);
            let fine = crew.line_up_again(duty, 3).is_none()
                && crew.next(duty, false) == Next::Leave
                && crew.wait_for_duty(Duration::from_secs(1)) == Call::Ended;
            crew.discharge();
            // SAFETY: ends the process without running the exit handlers of the parent.
            unsafe { libc::_exit(i32::from(!fine)) };
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child failed");
    }
    done.store(true, Relaxed);
    thread.join().unwrap();
    assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(1));
    crew.end();
}

fn echo(peer: &mut common::Peer) {
    peer.send(Wire::text("hello")).unwrap();
    assert_eq!(peer.read().unwrap(), Wire::text("hello"));
}

fn over_queue() -> (Arc<Connection>, FarEnd) {
    let parts = QueueParts {
        capacity: Default::default(),
        wakeup: None,
        config: Arc::new(Config::default()),
        permit: None,
    };
    Connection::over_queue(parts, Arc::new(Echo)).unwrap()
}

fn hello() -> Event {
    Event::Message(Message::Text("hello".into()))
}

fn echo_over_queue(far: &FarEnd) {
    assert_eq!(far.push(hello()), Pushed::Done);
    assert!(far.wait(Instant::now() + common::LIMIT));
    assert_eq!(far.drain(2), [hello()]);
}
