//! `load hold`: keeps connections open, and reads commands from standard input.
//!
//!     open 500     open so many more
//!     echo         send one message on each and wait for every echo
//!     hear         wait until each has got the message once more, which the server sends by itself
//!     check        are all still open?
//!     close        close handshake on each, then wait for the server to end the streams
//!
//! The program answers every command with one line of JSON, and answers pings at any time.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use flate2::Decompress;
use mio::{Events, Poll, Token, Waker};

use crate::Result;
use crate::args::Args;
use crate::open::{self, Target};
use crate::payload::{self, Kind, Pool};
use crate::peer::{Peer, State};

const WAKER: Token = Token(usize::MAX);

struct Held {
    peer: Peer,
    echoed: u64,
    /// The inflater, made at the first compressed message.
    inflater: Option<Box<Decompress>>,
}

struct Holder {
    target: Target,
    pool: Pool,
    patience: Duration,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    inflated: Vec<u8>,
    peers: HashMap<usize, Held>,
    /// The number of the next connection. No number is used twice, so that source addresses and ports
    /// rotate.
    next: usize,
    /// Connections that the server ended without a Close frame.
    broken: usize,
    rounds: u64,
}

/// Runs the command until its standard input ends.
pub fn run(mut args: Args) -> Result<()> {
    let target = Target {
        address: args.need("address")?,
        path: args.take("path", "/".to_owned())?,
        extensions: args.take("extensions", String::new())?,
    };
    let kind = args.take("kind", Kind::Text)?;
    let pool = Pool::new(kind, args.take("size", 32)?, !target.extensions.is_empty())?;
    let patience = Duration::try_from_secs_f64(args.take("patience", 60.0)?)?;
    args.finish()?;

    let poll = Poll::new()?;
    // The waker lives to the end, because dropping it would drop its last event.
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let stdin_waker = Arc::clone(&waker);
    let (sender, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin()
            .lock()
            .lines()
            .map_while(std::io::Result::ok)
        {
            if sender.send(line).is_err() || stdin_waker.wake().is_err() {
                return;
            }
        }
        drop(sender);
        // If the wake fails, the other thread is ending, too.
        let _ = stdin_waker.wake();
    });
    let mut holder = Holder {
        target,
        pool,
        patience,
        poll,
        events: Events::with_capacity(4096),
        scratch: Vec::new(),
        inflated: Vec::new(),
        peers: HashMap::new(),
        next: 0,
        broken: 0,
        rounds: 0,
    };
    let outcome = holder.serve(&commands);
    drop(waker);
    outcome
}

impl Holder {
    fn serve(&mut self, commands: &Receiver<String>) -> Result<()> {
        loop {
            self.turn(None)?;
            loop {
                match commands.try_recv() {
                    Ok(line) => self.obey(&line)?,
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn obey(&mut self, line: &str) -> Result<()> {
        let start = Instant::now();
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("open"), Some(count)) => self.open(count.parse()?)?,
            (Some("echo"), None) => self.echo()?,
            (Some("hear"), None) => self.hear()?,
            (Some("close"), None) => self.close()?,
            (Some("check"), None) => self.turn(Some(Duration::ZERO))?,
            _ => return Err(format!("unknown command {line:?}").into()),
        }
        println!(
            "{{\"open\":{},\"broken\":{},\"seconds\":{:.3}}}",
            self.peers.len(),
            self.broken,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn open(&mut self, count: usize) -> Result<()> {
        for portion in open::portions(self.next..self.next + count) {
            let first = portion.start;
            self.next = portion.end;
            for (offset, opened) in open::several(&self.target, portion)?
                .into_iter()
                .enumerate()
            {
                let number = first + offset;
                let peer = Peer::new(opened, self.poll.registry(), Token(number))?;
                self.peers.insert(
                    number,
                    Held {
                        peer,
                        echoed: self.rounds,
                        inflater: None,
                    },
                );
            }
            self.turn(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn echo(&mut self) -> Result<()> {
        let frame = self.pool.frames(0, 1);
        for held in self.peers.values_mut() {
            held.peer.send(frame)?;
        }
        self.hear()
    }

    /// Waits until each connection has got one message more.
    fn hear(&mut self) -> Result<()> {
        self.rounds += 1;
        let rounds = self.rounds;
        self.until("messages", |holder| {
            holder.peers.values().all(|held| held.echoed == rounds)
        })
    }

    fn close(&mut self) -> Result<()> {
        for held in self.peers.values_mut() {
            held.peer.close()?;
        }
        self.until("Close frames", |holder| holder.peers.is_empty())
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while !done(self) {
            if Instant::now() > deadline {
                return Err(format!("the server's {what} did not all come").into());
            }
            self.turn(Some(Duration::from_millis(50)))?;
        }
        Ok(())
    }

    /// Handles the events of the sockets; waits for them for at most `timeout`.
    fn turn(&mut self, timeout: Option<Duration>) -> Result<()> {
        crate::again(|| self.poll.poll(&mut self.events, timeout))?;
        for event in &self.events {
            let Token(number) = event.token();
            let Some(held) = self.peers.get_mut(&number) else {
                continue;
            };
            if event.is_writable() {
                held.peer.flush()?;
            }
            let Held {
                peer,
                echoed,
                inflater,
            } = held;
            let inflated = &mut self.inflated;
            let expected = self.pool.message(0);
            let state = peer.receive(&mut self.scratch, |frame| {
                let mut payload = frame.payload;
                if frame.compressed {
                    let inflater = inflater.get_or_insert_with(|| Box::new(Decompress::new(false)));
                    payload::inflate(inflater, payload, expected.len(), inflated)?;
                    payload = inflated;
                }
                if payload != expected {
                    return Err("an echo is not what was sent".into());
                }
                *echoed += 1;
                Ok(())
            })?;
            if state != State::Open {
                self.broken += usize::from(state == State::Broken);
                self.peers.remove(&number);
            }
        }
        Ok(())
    }
}
