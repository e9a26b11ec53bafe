//! The contract of the brokers, against real servers: `REDIS_SERVER` and `NATS_SERVER` are the paths of their
//! programs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cluster;
mod contract;
mod one;
mod only_nats;
mod only_redis;
mod outages;
mod proxy;
#[path = "../common/redis_client.rs"]
mod redis_client;
#[path = "../common/server.rs"]
mod server;

use std::sync::{Arc, mpsc::channel};

use dwebsocket::hub::broker::{Broker, BrokerError};

use self::one::Ear;

macro_rules! contract {
    ($($module:ident :: $name:ident,)*) => {
        mod redis {
            $(#[test] fn $name() {
                crate::server::Server::start(crate::server::Kind::Redis).map(crate::$module::$name);
            })*
        }
        mod nats {
            $(#[test] fn $name() {
                crate::server::Server::start(crate::server::Kind::Nats).map(crate::$module::$name);
            })*
        }
    };
}

contract! {
    contract::what_is_published_is_heard_in_order_by_who_subscribed,
    contract::a_history_has_no_gaps_and_nothing_twice,
    contract::old_messages_are_forgotten,
    contract::it_comes_back_after_the_server_was_killed,
    contract::lost_data_is_another_epoch,
    contract::a_server_that_stops_answering_is_noticed,
    contract::it_waits_for_a_server_that_is_not_there_yet,
    contract::who_changes_the_limits_keeps_the_history,
    contract::a_long_history_is_read_whole,
    contract::names_may_be_long_and_in_any_script,
    outages::nothing_is_lost_or_doubled_however_often_the_connection_is_cut,
}

#[test]
fn a_url_that_cannot_be_used_is_refused_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _context = runtime.enter();
    for url in [
        "localhost",
        "carrier-pigeon://x",
        "redis://[::bad",
        "rediss://h/#insecure",
        "nats://",
        "nats://h/x",
    ] {
        let (tell, _ear) = channel();
        let refused = Broker::open(url, "test", Arc::new(Ear(tell)));
        assert!(matches!(refused, Err(BrokerError::Url(_))), "{url}");
    }
}
