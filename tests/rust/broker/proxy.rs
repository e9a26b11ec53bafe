//! Proxies: one cuts connections, at any byte of a message or between messages; the other holds back the
//! answers of Redis.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

/// Pseudo-random numbers; the same seed gives the same numbers.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    cuts: Arc<AtomicUsize>,
    calm: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy. For each connection it passes on a random number of bytes below `most`, counting both
    /// directions together, and then resets the connection.
    pub(crate) fn start(to: u16, most: u64, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = Arc::new(AtomicUsize::new(0));
        let calm = Arc::new(AtomicBool::new(false));
        let (counter, quiet) = (Arc::clone(&cuts), Arc::clone(&calm));
        thread::spawn(move || {
            let mut chance = Chance(seed);
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", to)))
                else {
                    continue;
                };
                let left = if quiet.load(Ordering::Relaxed) {
                    i64::MAX
                } else {
                    chance.below(most) as i64
                };
                let pipe = Pipe {
                    left: Arc::new(AtomicI64::new(left)),
                    cuts: Arc::clone(&counter),
                };
                pipe.start(&client, &server);
                pipe.start(&server, &client);
            }
        });
        Self { port, cuts, calm }
    }

    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Stops the cuts for connections that are made from now on.
    pub(crate) fn be_calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Pipe {
    left: Arc<AtomicI64>,
    cuts: Arc<AtomicUsize>,
}

impl Pipe {
    fn start(&self, from: &TcpStream, to: &TcpStream) {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let pipe = self.clone();
        thread::spawn(move || pipe.run(from, to));
    }

    fn run(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let left = self.left.fetch_sub(count as i64, Ordering::Relaxed);
            let passed = count.min(usize::try_from(left).unwrap_or(0));
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if passed < count {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                // The connection ends with a reset; the bytes that were passed on arrive before it.
                for end in [&from, &to] {
                    let _ = SockRef::from(end).set_linger(Some(Duration::ZERO));
                }
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

/// A proxy that counts the subscriptions for which Redis is asked, and can hold back the answers to them.
#[derive(Default)]
pub(crate) struct Gate {
    asked: AtomicUsize,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn start(to: u16) -> (Arc<Self>, u16) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gate = Arc::<Self>::default();
        let serving = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming() {
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", to))) {
                    serving.serve(&client, &server);
                }
            }
        });
        (gate, port)
    }

    fn serve(self: &Arc<Self>, client: &TcpStream, server: &TcpStream) {
        const WORD: &[u8] = b"\r\nSUBSCRIBE";
        let listens = Arc::new(AtomicBool::new(false));
        let (gate, is_listening) = (Arc::clone(self), Arc::clone(&listens));
        pass(client, server, move |bytes| {
            // A word that two parts share is not counted.
            let found = bytes.windows(WORD.len()).filter(|part| *part == WORD);
            let found = found.count();
            is_listening.fetch_or(found > 0, Ordering::SeqCst);
            gate.asked.fetch_add(found, Ordering::SeqCst);
        });
        let gate = Arc::clone(self);
        pass(server, client, move |_| {
            if listens.load(Ordering::SeqCst) {
                let shut = gate.shut.lock().unwrap();
                drop(gate.opened.wait_while(shut, |shut| *shut));
            }
        });
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }
}

/// Passes on the bytes of one socket to another; `see` gets each part before that.
fn pass(from: &TcpStream, to: &TcpStream, see: impl Fn(&[u8]) + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            see(&buffer[..count]);
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
