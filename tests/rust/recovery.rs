//! A process fetches missed messages when its broker is back: `REDIS_SERVER` is the path of the Redis
//! program.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/server.rs"]
mod server;
#[path = "common/site.rs"]
mod site;

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{connect_inbox, limited, until};
use dwebsocket::{
    config::Config,
    hub::{BrokerState, Limits},
};
use futures_util::future::join_all;
use server::Server;
use site::{Other, hub, join, pump};

/// Groups with a history, and the threads that join them.
const GROUPS: usize = 2_000;
const THREADS: usize = 10;

/// Questions that may be open at once after a reconnect.
const AT_ONCE: usize = 16;

const LIMITS: Limits = Limits {
    size: 5,
    ttl: Duration::from_secs(60),
};

/// A proxy between the process and the server.
#[derive(Default)]
struct Proxy {
    /// The open connections; `None` while the proxy accepts none.
    open: Mutex<Option<Vec<TcpStream>>>,
    /// Scripts that the server was asked to run.
    scripts: AtomicUsize,
    /// Whether answers are held back, from the next script on.
    holding: Mutex<bool>,
    released: Condvar,
}

impl Proxy {
    fn start(server: u16) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self::default());
        *proxy.open.lock().unwrap() = Some(Vec::new());
        let serving = Arc::clone(&proxy);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serving.serve(client, TcpStream::connect(("127.0.0.1", server)).unwrap());
            }
        });
        (proxy, port)
    }

    fn serve(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let mut open = self.open.lock().unwrap();
        let Some(open) = open.as_mut() else {
            return;
        };
        open.push(client.try_clone().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let counting = Arc::clone(&asked);
        thread::spawn(move || {
            let mut tail = Vec::new();
            pump(&mut from, &mut to, |bytes| {
                let scripts = count_scripts(&mut tail, bytes);
                counting.fetch_add(scripts, Ordering::SeqCst);
                up.scripts.fetch_add(scripts, Ordering::SeqCst);
            });
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            pump(&mut from, &mut to, |_| {
                let holding = down.holding.lock().unwrap_or_else(PoisonError::into_inner);
                if asked.load(Ordering::SeqCst) > 0 {
                    drop(down.released.wait_while(holding, |holding| *holding));
                }
            });
        });
    }

    /// Cuts all connections, and accepts no further ones.
    fn cut(&self) {
        for client in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }

    fn hold(&self, holding: bool) {
        *self.holding.lock().unwrap() = holding;
        self.released.notify_all();
    }
}

/// Counts the calls of scripts in a stream; `tail` is the end of the bytes before.
fn count_scripts(tail: &mut Vec<u8>, bytes: &[u8]) -> usize {
    const WORD: &[u8] = b"EVALSHA";
    tail.extend_from_slice(bytes);
    let found = tail
        .windows(WORD.len())
        .filter(|part| *part == WORD)
        .count();
    let keep = tail.len().min(WORD.len() - 1);
    tail.drain(..tail.len() - keep);
    found
}

fn name(number: usize) -> String {
    format!("many.{number}")
}

/// Stores the same message in every group, as another process would, while this one is cut off.
fn store_in_all(server: u16, proxy: &Proxy) {
    let other = Other::start(&format!("redis://127.0.0.1:{server}/"), "recovery");
    proxy.cut();
    until("the broker is away", || {
        hub().broker_state() == BrokerState::Away
    });
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
        proxy.hold(true);
        proxy.mend();
        let asked = || proxy.scripts.load(Ordering::SeqCst) - before;
        until("the process asks for what it missed", || asked() >= AT_ONCE);
        // Questions beyond the limit would arrive in this time.
        thread::sleep(Duration::from_millis(300));
        let asked = asked();
        proxy.hold(false);
        assert!(asked <= AT_ONCE, "{asked} questions at once");

        for one in &mut members {
            for _ in 0..GROUPS / THREADS {
                assert_eq!(one.2.read().unwrap().into_text().unwrap(), "missed");
            }
        }
    });
}
