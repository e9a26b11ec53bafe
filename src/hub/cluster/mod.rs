//! The link between the groups and the broker: subscriptions, gaps, and messages that wait.
//!
//! * `line`: the connection, and questions over it.
//! * `events`: passes the events of the broker's task on.
//! * `incoming`: gives messages from the broker to the groups; `intake`: the last step of that.
//! * `inquiries`: questions of monitoring to the other processes, and their answers.
//! * `outgoing`: sends the messages of groups and presence to the broker, in order.
//! * `subscriptions`: the channels that this process listens to.
//! * `preparing`: makes groups ready for a new member.
//! * `recovery`: fetches messages that a group has missed.
//! * `histories`: converts entries that the broker has stored into messages.
//! * `trouble`: paces questions that the broker refuses, and reports them in the log.

mod events;
pub(super) mod histories;
mod incoming;
pub(super) mod inquiries;
mod intake;
pub(super) mod line;
mod outgoing;
mod preparing;
mod recovery;
mod subscriptions;
mod trouble;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::runtime::Handle;

use self::{
    events::{Listeners, Receiver},
    incoming::Incoming,
    inquiries::Inquiries,
    intake::Intake,
    line::{BrokerState, Line},
    outgoing::Uplink,
    preparing::Preparing,
    recovery::Recovery,
    subscriptions::Subscriptions,
};
use super::{
    broker::{Broker, BrokerError},
    clock::Clock,
    delivery::fanout::Fanout,
    groups::table::Groups,
    losses::Losses,
    names::Channel,
    node::Node,
    presence::who::Attendance,
};

/// The link to the other processes of the site, if there is a broker.
pub(super) struct Cluster {
    pub(super) handle: Handle,
    pub(super) node: &'static Node,
    pub(super) groups: &'static Groups,
    pub(super) fanout: &'static Fanout,
    pub(super) attendance: &'static Attendance,
    pub(super) losses: &'static Losses,
    pub(super) clock: &'static Clock,
    pub(super) inquiries: &'static Inquiries,
    pub(super) link: OnceLock<Link>,
    /// A std mutex: held while the only link is made.
    pub(super) connecting: Mutex<()>,
}

/// The parts of the connection to the broker that others use.
pub(super) struct Link {
    pub(super) line: &'static Line,
    pub(super) uplink: &'static Uplink,
    pub(super) preparing: Preparing,
}

impl Cluster {
    /// `None`: there is no broker.
    pub(super) fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// Connects to a broker, once; later calls do nothing.
    ///
    /// # Errors
    ///
    /// The URL cannot be used.
    pub(super) fn connect(&'static self, url: &str, prefix: &str) -> Result<(), BrokerError> {
        let _turn = self
            .connecting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.link.get().is_some() {
            return Ok(());
        }
        let receiver = Receiver::default();
        let listeners = Arc::clone(&receiver.listeners);
        let broker = {
            let _context = self.handle.enter();
            Broker::open(url, prefix, Arc::new(receiver))?
        };
        let (link, heard) = self.link_by(broker);
        self.groups.watch(heard.subscriptions);
        self.attendance.announce_by(link.uplink);
        self.handle.spawn(heard.subscriptions.review_all());
        self.handle.spawn(link.uplink.send_later());
        self.inquiries.speak_over(link.line);
        let _ = self.link.set(link);
        let _ = listeners.set(heard);
        // The clock runs even if no connection joins here: the leases of the other processes end in this
        // process, too.
        self.clock.start();
        heard.subscriptions.review(&Channel::everybody(), None);
        heard.subscriptions.review(&Channel::presence(), None);
        for channel in self.inquiries.channels() {
            heard.subscriptions.review(&channel, None);
        }
        Ok(())
    }

    /// Puts the parts of the link together.
    fn link_by(&self, broker: Broker) -> (Link, Listeners) {
        let line: &'static Line = forever(Line::new(broker, self.handle.clone()));
        let intake = forever(Intake::new(self.node, self.groups, self.fanout));
        let recovery = forever(Recovery {
            line,
            groups: self.groups,
            losses: self.losses,
            intake,
        });
        let subscriptions: &'static Subscriptions = forever(Subscriptions::new(
            line,
            self.groups,
            self.attendance,
            recovery,
        ));
        let incoming: &'static Incoming = forever(Incoming {
            node: self.node,
            groups: self.groups,
            fanout: self.fanout,
            attendance: self.attendance,
            losses: self.losses,
            intake,
            recovery,
            inquiries: self.inquiries,
        });
        let uplink: &'static Uplink = forever(Uplink::new(
            line,
            self.node,
            self.groups,
            self.losses,
            incoming,
        ));
        let preparing = Preparing {
            line,
            losses: self.losses,
            subscriptions,
            recovery,
        };
        let link = Link {
            line,
            uplink,
            preparing,
        };
        let listeners = Listeners {
            line,
            losses: self.losses,
            attendance: self.attendance,
            incoming,
            recovery,
            subscriptions,
        };
        (link, listeners)
    }

    /// The state of the connection to the broker.
    pub(super) fn state(&self) -> BrokerState {
        self.link()
            .map_or(BrokerState::None, |link| link.line.state())
    }

    /// Waits until no message waits for the broker any more; returns false if some still wait after
    /// `timeout`.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        self.link().is_none_or(|link| link.uplink.flush(timeout))
    }
}

/// The parts live as long as the process, and refer to each other.
fn forever<T>(part: T) -> &'static T {
    Box::leak(Box::new(part))
}
