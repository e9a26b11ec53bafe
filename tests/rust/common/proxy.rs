//! A proxy between the process and a Redis server, which holds parts of the conversation back.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::site::pump;

/// What a proxy can hold back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Calls of scripts.
    Questions,
    /// All that the server says over a connection that has called a script.
    Answers,
    /// Published messages, and what follows them.
    Messages,
}

/// A connection through the proxy.
struct Wire {
    client: TcpStream,
    /// The client has subscribed to something.
    listens: Arc<AtomicBool>,
}

#[derive(Default)]
pub struct Proxy {
    /// The open connections; `None` while the proxy accepts none.
    open: Mutex<Option<Vec<Wire>>>,
    /// Scripts that the server was asked to run.
    pub scripts: AtomicUsize,
    holding: Mutex<Vec<Part>>,
    released: Condvar,
    /// Parts that are held back now.
    pub held: AtomicUsize,
}

impl Proxy {
    pub fn start(server: u16) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self::default());
        proxy.mend();
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
        let listens = Arc::new(AtomicBool::new(false));
        open.push(Wire {
            client: client.try_clone().unwrap(),
            listens: Arc::clone(&listens),
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let (up, down) = (Arc::clone(self), Arc::clone(self));
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let counting = Arc::clone(&asked);
        thread::spawn(move || {
            let mut tail = Vec::new();
            pump(&mut from, &mut to, |bytes| {
                let scripts = count(b"EVALSHA", &mut tail, bytes);
                if scripts > 0 {
                    counting.fetch_add(scripts, Ordering::SeqCst);
                    up.scripts.fetch_add(scripts, Ordering::SeqCst);
                    up.pass(Part::Questions);
                }
                if count(b"SUBSCRIBE", &mut Vec::new(), bytes) > 0 {
                    listens.store(true, Ordering::SeqCst);
                }
            });
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            pump(&mut from, &mut to, |bytes| {
                if asked.load(Ordering::SeqCst) > 0 && !bytes.is_empty() {
                    down.pass(Part::Answers);
                }
                if count(b"message\r\n", &mut Vec::new(), bytes) > 0 {
                    down.pass(Part::Messages);
                }
            });
        });
    }

    /// Waits while such parts are held back.
    fn pass(&self, part: Part) {
        let holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |holding: &mut Vec<Part>| holding.contains(&part);
        let held = usize::from(holding.contains(&part));
        self.held.fetch_add(held, Ordering::SeqCst);
        drop(self.released.wait_while(holding, is_held));
        self.held.fetch_sub(held, Ordering::SeqCst);
    }

    /// Cuts all connections, and accepts no further ones.
    pub fn cut(&self) {
        self.cut_if(|_| true);
    }

    /// Cuts the connections over which the process listens, and accepts no further ones. The server still
    /// answers the questions that it has got.
    pub fn deafen(&self) {
        self.cut_if(|wire| wire.listens.load(Ordering::SeqCst));
    }

    fn cut_if(&self, is_cut: impl Fn(&Wire) -> bool) {
        let open = self.open.lock().unwrap().take();
        for wire in open.into_iter().flatten().filter(is_cut) {
            let _ = wire.client.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }

    /// Holds back such parts, from the next ones on, and lets all others go.
    pub fn hold(&self, parts: &[Part]) {
        *self.holding.lock().unwrap() = parts.to_vec();
        self.released.notify_all();
    }
}

/// Counts a word in a stream; `tail` is the end of the bytes before.
fn count(word: &[u8], tail: &mut Vec<u8>, bytes: &[u8]) -> usize {
    tail.extend_from_slice(bytes);
    let found = tail
        .windows(word.len())
        .filter(|part| *part == word)
        .count();
    let keep = tail.len().min(word.len() - 1);
    tail.drain(..tail.len() - keep);
    found
}
