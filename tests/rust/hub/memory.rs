//! The hub without a broker.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod suite;

mod broker {
    use dwebsocket::hub::Fate;

    pub(crate) const FATE: Fate = Fate::Alone;

    pub(crate) fn url() -> Option<String> {
        None
    }
}

/// The bytes of a message; whoever made them sees when they are freed.
struct Watched {
    _watch: std::sync::Arc<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

#[test]
fn what_has_expired_is_freed_in_a_quiet_group_with_members() {
    use std::{sync::Arc, time::Duration};

    use dwebsocket::hub::{Limits, Outgoing, Target};

    use crate::suite::{hub, kept, outgoing};

    common::limited(|| {
        let limits = Limits {
            size: 5,
            ttl: Duration::from_secs(1),
        };
        let join = dwebsocket::hub::Join {
            limits: Some(limits),
            ..kept()
        };
        let one = common::connect_inbox(dwebsocket::config::Config::default());
        hub().join(&one.0, "quiet", join).unwrap();
        let watch = Arc::new(());
        let message = Outgoing {
            targets: vec![Target::Kept("quiet".into(), limits)],
            payload: bytes::Bytes::from_owner(Watched {
                _watch: Arc::clone(&watch),
            }),
            ..outgoing(&[], "")
        };
        hub().publish(&message).unwrap();
        drop(message);
        assert_eq!(Arc::strong_count(&watch), 2, "the history has it");
        common::until("the message is freed", || Arc::strong_count(&watch) == 1);
        assert_eq!(hub().count(&["quiet"]), 1);
    });
}
