//! Threads that serve the handlers of many connections: who leads, and when the lead passes on.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{Peer, connect, limited, until};
use dwebsocket::{
    config::Config,
    engine::{Call, Connection, Consumer, Crew, Duty, Inbox, Next, Overflow, Received, engine},
    protocol::{Message, OpCode},
};
use tungstenite::Message as Wire;

type Member = (Arc<Connection>, Arc<Inbox>);
type Handler = dyn Fn(&str) + Send + Sync;

/// What a pool of handlers consists of, without Python.
struct Pool {
    crew: Arc<Crew<u64>>,
    members: Mutex<HashMap<u64, Member>>,
    handler: Box<Handler>,
    /// The threads that were started.
    hired: AtomicUsize,
}

impl Pool {
    fn new(most: usize, handler: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        let pool = Arc::new(Self {
            crew: Crew::start(engine().unwrap(), most).unwrap(),
            members: Mutex::default(),
            handler: Box::new(handler),
            hired: AtomicUsize::new(0),
        });
        pool.hire();
        pool
    }

    fn hire(self: &Arc<Self>) {
        if self.crew.enlist() {
            self.hired.fetch_add(1, SeqCst);
            let pool = Arc::clone(self);
            thread::spawn(move || pool.run());
        }
    }

    fn open(&self) -> Peer {
        let config = Config::default();
        let event_loop = Arc::clone(self.crew.event_loop());
        let inbox = Inbox::new(&config, Consumer::EventLoop(event_loop));
        let (connection, peer) = connect(config, Arc::clone(&inbox) as _);
        let id = connection.id();
        self.members.lock().unwrap().insert(id, (connection, inbox));
        self.crew.event_loop().report(id);
        peer
    }

    fn run(self: &Arc<Self>) {
        loop {
            match self.crew.wait_for_duty(Duration::from_secs(5)) {
                Call::Lead(lead) => {
                    self.hire();
                    self.work(Duty::Lead(lead));
                }
                Call::Idle => {}
                Call::Spare | Call::Ended => return self.crew.discharge(),
            }
        }
    }

    fn work(&self, mut duty: Duty) {
        loop {
            match self.crew.next(duty, false) {
                Next::Work(id) => self.serve(id),
                Next::Help => duty = Duty::Help,
                Next::Leave => return,
                Next::Wait => {
                    self.crew.event_loop().wait(None);
                    let (ids, _) = self.crew.event_loop().attend();
                    self.crew.line_up(ids);
                }
            }
        }
    }

    fn serve(&self, id: u64) {
        let (connection, inbox) = self.members.lock().unwrap()[&id].clone();
        loop {
            match inbox.take_in_loop(&connection) {
                Received::Message(Message::Text(data)) => {
                    (self.handler)(std::str::from_utf8(&data).unwrap());
                    connection.send(OpCode::Text, &data, Overflow::Close);
                }
                Received::Nothing if inbox.arm() => break,
                Received::End => break,
                _ => {}
            }
        }
        self.crew.event_loop().write_held();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.crew.end();
    }
}

fn echo(peer: &mut Peer, text: &str) {
    peer.send(Wire::text(text)).unwrap();
    assert_eq!(peer.read().unwrap(), Wire::text(text));
}

#[test]
fn one_thread_serves_quick_handlers() {
    limited(|| {
        let threads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&threads);
        let pool = Pool::new(8, move |_| {
            seen.lock().unwrap().push(thread::current().id());
        });
        let mut peers: Vec<_> = (0..20).map(|_| pool.open()).collect();
        for round in 0..20 {
            for peer in &mut peers {
                peer.send(Wire::text(round.to_string())).unwrap();
            }
            for peer in &mut peers {
                assert_eq!(peer.read().unwrap(), Wire::text(round.to_string()));
            }
        }
        assert_eq!(threads.lock().unwrap().len(), 400);
        pool.crew.end();
        until("all threads end", || pool.crew.threads() == 0);
    });
}

#[test]
fn the_lead_passes_on_from_a_slow_handler() {
    limited(|| {
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let pool = Pool::new(8, move |text| {
            if text == "slow" {
                let _ = wait.lock().unwrap().recv();
            }
        });
        let (mut slow, mut quick) = (pool.open(), pool.open());
        slow.send(Wire::text("slow")).unwrap();
        for number in 0..50 {
            echo(&mut quick, &number.to_string());
        }
        drop(go);
        assert_eq!(slow.read().unwrap(), Wire::text("slow"));
        pool.crew.end();
    });
}

#[test]
fn slow_handlers_run_side_by_side_up_to_the_limit() {
    limited(|| {
        let inside = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let go = Arc::new(AtomicBool::new(false));
        let (counts, may_go) = (Arc::clone(&inside), Arc::clone(&go));
        let pool = Pool::new(4, move |_| {
            let now = counts.0.fetch_add(1, SeqCst) + 1;
            counts.1.fetch_max(now, SeqCst);
            while !may_go.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            counts.0.fetch_sub(1, SeqCst);
        });
        let mut peers: Vec<_> = (0..8).map(|_| pool.open()).collect();
        for peer in &mut peers {
            peer.send(Wire::text("x")).unwrap();
        }
        until("four handlers run", || inside.0.load(SeqCst) == 4);
        thread::sleep(Duration::from_millis(30));
        go.store(true, SeqCst);
        for peer in &mut peers {
            assert_eq!(peer.read().unwrap(), Wire::text("x"));
        }
        assert_eq!(inside.1.load(SeqCst), 4);
        assert!(pool.hired.load(SeqCst) <= 4);
        pool.crew.end();
    });
}

#[test]
fn handlers_that_wait_for_less_than_a_tick_get_helpers() {
    limited(|| {
        let inside = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let counts = Arc::clone(&inside);
        let pool = Pool::new(8, move |_| {
            let now = counts.0.fetch_add(1, SeqCst) + 1;
            counts.1.fetch_max(now, SeqCst);
            thread::sleep(Duration::from_micros(300));
            counts.0.fetch_sub(1, SeqCst);
        });
        let mut peers: Vec<_> = (0..50).map(|_| pool.open()).collect();
        let began = Instant::now();
        while inside.1.load(SeqCst) < 3 {
            assert!(began.elapsed() < common::LIMIT, "nobody helps");
            for peer in &mut peers {
                peer.send(Wire::text("x")).unwrap();
            }
            for peer in &mut peers {
                assert_eq!(peer.read().unwrap(), Wire::text("x"));
            }
        }
        pool.crew.end();
    });
}

#[test]
fn a_crew_without_work_ends_when_it_is_told_to() {
    limited(|| {
        let pool = Pool::new(4, |_| {});
        let mut peer = pool.open();
        echo(&mut peer, "x");
        until("one leads, one waits", || pool.crew.threads() == 2);
        pool.crew.end();
        until("all threads end", || pool.crew.threads() == 0);
        // Whoever asks now gets nothing to do.
        assert_eq!(pool.crew.wait_for_duty(Duration::ZERO), Call::Ended);
        assert!(!pool.crew.enlist());
    });
}

#[test]
fn one_thread_leads_and_takes_the_line_in_order() {
    limited(|| {
        let crew: Arc<Crew<u64>> = Crew::start(engine().unwrap(), 4).unwrap();
        assert!(crew.enlist());
        let Call::Lead(lead) = crew.wait_for_duty(Duration::ZERO) else {
            panic!("nobody leads, and this thread is not asked to");
        };
        assert_eq!(crew.wait_for_duty(Duration::ZERO), Call::Idle);
        crew.line_up([7, 8]);
        assert_eq!(crew.next(Duty::Lead(lead + 1), false), Next::Leave);
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(7));
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(8));
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Wait);
        crew.end();
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Leave);
    });
}

#[test]
fn what_another_thread_lines_up_is_not_forgotten_while_the_leader_waits() {
    limited(|| {
        let crew: Arc<Crew<u64>> = Crew::start(engine().unwrap(), 4).unwrap();
        // The next that leads looks at the line first.
        assert_eq!(crew.line_up_again(Duty::Help, 1), None);
        let Call::Lead(lead) = crew.wait_for_duty(Duration::ZERO) else {
            panic!("nobody leads");
        };
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(1));
        // The leading thread runs a handler, and will look at the line.
        assert_eq!(crew.line_up_again(Duty::Help, 2), None);
        assert_eq!(crew.line_up_again(Duty::Lead(lead), 3), None);
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(2));
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(3));
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Wait);
        // It waits for the sockets.
        assert_eq!(crew.line_up_again(Duty::Help, 4), Some(4));
        assert_eq!(crew.line_up_again(Duty::Lead(lead + 1), 5), Some(5));
        crew.end();
    });
}

#[test]
fn a_helper_leaves_when_it_computes_or_when_nobody_leads() {
    limited(|| {
        let crew: Arc<Crew<u64>> = Crew::start(engine().unwrap(), 4).unwrap();
        crew.line_up([7, 8]);
        assert_eq!(crew.next(Duty::Help, false), Next::Leave);
        let Call::Lead(lead) = crew.wait_for_duty(Duration::ZERO) else {
            panic!("nobody leads");
        };
        assert_eq!(crew.next(Duty::Help, true), Next::Leave);
        assert_eq!(crew.next(Duty::Help, false), Next::Work(7));
        assert_eq!(crew.next(Duty::Lead(lead), false), Next::Work(8));
        assert_eq!(crew.next(Duty::Help, false), Next::Leave);
        crew.end();
    });
}
