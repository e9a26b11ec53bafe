//! A process fetches missed messages when its broker is back: `REDIS_SERVER` is the path of the Redis
//! program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/proxy.rs"]
mod proxy;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{sync::atomic::Ordering, thread, time::Duration};

use common::{connect_inbox, limited, until};
use dwebsocket::{
    config::Config,
    hub::{BrokerState, Limits},
};
use futures_util::future::join_all;
use proxy::{Part, Proxy};
use server::Server;
use site::{Other, hub, join, until_broker_is};

/// Groups with a history, and the threads that join them.
const GROUPS: usize = 2_000;
const THREADS: usize = 10;

/// Questions that may be open at once after a reconnect.
const AT_ONCE: usize = 16;

const LIMITS: Limits = Limits {
    size: 5,
    ttl: Duration::from_secs(60),
};

fn name(number: usize) -> String {
    format!("many.{number}")
}

/// Stores the same message in every group, as another process would, while this one is cut off.
fn store_in_all(server: u16, proxy: &Proxy) {
    let other = Other::start(&format!("redis://127.0.0.1:{server}/"), "recovery");
    proxy.cut();
    until_broker_is(BrokerState::Away);
    let store = async |number: usize| {
        other.store(&name(number), number as u64 + 1, LIMITS).await;
    };
    let numbers: Vec<_> = (0..GROUPS).collect();
    for some in numbers.chunks(50) {
        other
            .runtime
            .block_on(join_all(some.iter().copied().map(&store)));
    }
}

#[test]
fn after_an_outage_many_groups_are_made_up_a_few_at_a_time() {
    let Some(server) = Server::in_memory() else {
        return;
    };
    limited(move || {
        let (proxy, port) = Proxy::start(server.port);
        hub()
            .connect(&format!("redis://127.0.0.1:{port}/"), "recovery")
            .unwrap();
        let joining = (0..THREADS).map(|thread| {
            thread::spawn(move || {
                let one = connect_inbox(Config::default());
                for number in (thread..GROUPS).step_by(THREADS) {
                    hub()
                        .join(&one.0, &name(number), join(Some(LIMITS)))
                        .unwrap();
                }
                one
            })
        });
        let joining: Vec<_> = joining.collect();
        let mut members: Vec<_> = joining.into_iter().map(|one| one.join().unwrap()).collect();
        store_in_all(server.port, &proxy);

        let before = proxy.scripts.load(Ordering::SeqCst);
        proxy.hold(&[Part::Answers]);
        proxy.mend();
        let asked = || proxy.scripts.load(Ordering::SeqCst) - before;
        until("the process asks for what it missed", || asked() >= AT_ONCE);
        // Questions beyond the limit would arrive in this time.
        thread::sleep(Duration::from_millis(300));
        let asked = asked();
        proxy.hold(&[]);
        assert!(asked <= AT_ONCE, "{asked} questions at once");

        for one in &mut members {
            for _ in 0..GROUPS / THREADS {
                assert_eq!(one.2.read().unwrap().into_text().unwrap(), "missed");
            }
        }
    });
}
