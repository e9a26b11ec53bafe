//! A child of a fork makes an engine of its own and leaves its parent's alone.
//!
//! One test in a process of its own: a fork copies whatever the other threads are at.
#![allow(unsafe_code, clippy::unwrap_used, clippy::panic)]

mod common;

use std::{panic::AssertUnwindSafe, sync::Arc};

use common::{Echo, connect, limited};
use dwebsocket::{
    config::Config,
    engine::{self, Overflow, Permit, Sent},
    protocol::OpCode,
};
use tungstenite::Message as Wire;

#[test]
fn parent_and_child_each_have_an_engine() {
    limited(|| {
        let permit = Permit::take(10).unwrap();
        let (connection, mut peer) = connect(Config::default(), Arc::new(Echo));
        echo(&mut peer);
        // SAFETY: the child touches nothing that another thread of the parent may hold locked, which
        // is what this test is about, and leaves by `_exit`.
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
                let (own, mut peer) = connect(Config::default(), Arc::new(Echo));
                echo(&mut peer);
                assert!(own.id() > connection.id());
                drop(peer);
                assert_eq!(engine::engine().unwrap().stop(common::LIMIT, 1001), 0);
            }));
            // SAFETY: ends the process without running what the parent registered.
            unsafe { libc::_exit(i32::from(fine.is_err())) };
        }
        let mut status = 0;
        // SAFETY: `status` is a valid place for the result.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child failed");
        // The child's end has taken nothing from the parent.
        echo(&mut peer);
        drop(permit);
        assert_eq!(Permit::taken(), 0);
    });
}

fn echo(peer: &mut common::Peer) {
    peer.send(Wire::text("hello")).unwrap();
    assert_eq!(peer.read().unwrap(), Wire::text("hello"));
}
