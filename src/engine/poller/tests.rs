use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// A socket whose source tells what it has read.
struct Pipe {
    id: u64,
    ours: UnixStream,
    heard: Sender<(u64, Vec<u8>)>,
    /// The number of bytes that the source says it has read; `None`: the true number.
    claims: Option<usize>,
}

impl Source for Pipe {
    fn read(self: Arc<Self>, chunk: &mut [u8], ends: bool) -> usize {
        let len = (&self.ours).read(chunk).unwrap_or(0);
        if ends {
            let _ = self.heard.send((self.id, b"the end follows".to_vec()));
        }
        let _ = self.heard.send((self.id, chunk[..len].to_vec()));
        self.claims.unwrap_or(len)
    }
}

struct Room {
    poller: Arc<Poller>,
    sources: Mutex<HashMap<u64, Arc<Pipe>>>,
    heard: Receiver<(u64, Vec<u8>)>,
    speaks: Sender<(u64, Vec<u8>)>,
}

impl Room {
    fn new() -> Self {
        let (speaks, heard) = channel();
        Self {
            poller: Arc::new(Poller::new(1024).unwrap()),
            sources: Mutex::default(),
            heard,
            speaks,
        }
    }

    /// Adds a socket; returns its far end.
    fn add(&self, id: u64, claims: Option<usize>) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let fd = ours.as_raw_fd();
        let heard = self.speaks.clone();
        let source = Arc::new(Pipe {
            id,
            ours,
            heard,
            claims,
        });
        lock(&self.sources).insert(id, Arc::clone(&source));
        self.poller.add(id, fd, source).unwrap();
        theirs
    }

    fn hear(&self) -> (u64, Vec<u8>) {
        self.heard.recv_timeout(LIMIT).unwrap()
    }

    /// Runs the watch, as the engine does.
    fn watched(&self) -> tokio::runtime::Runtime {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let poller = Arc::clone(&self.poller);
        runtime.spawn(async move { poller.watch().await });
        runtime
    }

    fn wait_until(&self, attendant: Attendant) {
        let deadline = Instant::now() + LIMIT;
        while lock(&self.poller.state).attendant != attendant {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }
}

#[test]
fn the_thread_that_attends_reads_every_socket_that_is_ready() {
    let room = Room::new();
    let (mut one, mut two) = (room.add(1, None), room.add(2, None));
    one.write_all(b"one").unwrap();
    two.write_all(b"two").unwrap();
    let attendance = room.poller.attend().unwrap();
    attendance.round(Some(LIMIT));
    let mut heard = [room.hear(), room.hear()];
    heard.sort();
    assert_eq!(heard, [(1, b"one".to_vec()), (2, b"two".to_vec())]);
}

#[test]
fn an_end_that_arrives_together_with_the_last_bytes_is_reported() {
    let room = Room::new();
    let mut peer = room.add(1, None);
    peer.write_all(b"last").unwrap();
    drop(peer);
    let attendance = room.poller.attend().unwrap();
    attendance.round(Some(LIMIT));
    assert_eq!(room.hear(), (1, b"the end follows".to_vec()));
    assert_eq!(room.hear(), (1, b"last".to_vec()));
}

#[test]
fn one_thread_attends_at_a_time() {
    let room = Room::new();
    let attendance = room.poller.attend().unwrap();
    assert!(room.poller.attend().is_none());
    drop(attendance);
    assert!(room.poller.attend().is_some());
}

#[test]
fn a_round_waits_no_longer_than_its_timeout() {
    let room = Room::new();
    let attendance = room.poller.attend().unwrap();
    attendance.round(Some(Duration::from_millis(1)));
    assert!(room.heard.try_recv().is_err());
}

#[test]
fn another_thread_wakes_the_one_that_attends() {
    let room = Room::new();
    thread::scope(|scope| {
        let attends = scope.spawn(|| room.poller.attend().unwrap().round(None));
        room.wait_until(Attendant::Thread);
        room.poller.wake();
        attends.join().unwrap();
    });
}

#[test]
fn a_thread_is_woken_although_the_watch_ends_its_round_late() {
    let room = Room::new();
    let _peer = room.add(1, None);
    let attendance = room.poller.attend().unwrap();
    let poller = &room.poller;
    thread::scope(|scope| {
        scope.spawn(|| {
            poller.wake();
            poller.late_round();
        });
    });
    let began = Instant::now();
    attendance.round(Some(LIMIT));
    assert!(began.elapsed() < LIMIT);
}

#[test]
fn a_thread_that_attends_does_not_wake_itself() {
    let room = Room::new();
    let attendance = room.poller.attend().unwrap();
    room.poller.wake();
    let began = Instant::now();
    attendance.round(Some(Duration::from_millis(20)));
    assert!(began.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_round_leaves_what_is_too_much_to_the_next_one() {
    let room = Room::new();
    let mut peers: Vec<_> = (1..=3).map(|id| room.add(id, Some(BYTES))).collect();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    let attendance = room.poller.attend().unwrap();
    for round in 1..=3 {
        attendance.round(Some(LIMIT));
        assert_eq!(room.heard.try_iter().count(), 1, "round {round}");
    }
}

#[test]
fn a_socket_that_was_removed_is_not_read() {
    let room = Room::new();
    let (mut one, mut two) = (room.add(1, None), room.add(2, None));
    let gone = lock(&room.sources).remove(&1).unwrap();
    room.poller.remove(1, gone.ours.as_raw_fd());
    one.write_all(b"one").unwrap();
    two.write_all(b"two").unwrap();
    let attendance = room.poller.attend().unwrap();
    attendance.round(Some(LIMIT));
    assert_eq!(room.hear(), (2, b"two".to_vec()));
    assert!(room.heard.try_recv().is_err());
}

#[test]
fn the_watch_stands_in_when_nobody_attends() {
    let room = Room::new();
    let runtime = room.watched();
    let mut peer = room.add(1, None);
    for text in [b"one", b"two"] {
        peer.write_all(text).unwrap();
        assert_eq!(room.hear(), (1, text.to_vec()));
    }
    runtime.shutdown_background();
}

#[test]
fn a_thread_takes_over_from_the_watch_and_gives_back_to_it() {
    let room = Room::new();
    let runtime = room.watched();
    let mut peer = room.add(1, None);
    for turn in 0..20 {
        room.wait_until(Attendant::Watch);
        let attendance = room.poller.attend().unwrap();
        peer.write_all(&[turn]).unwrap();
        // The watch may be in the middle of its last round, and read this as well.
        while room.heard.recv_timeout(Duration::from_millis(1)) != Ok((1, vec![turn])) {
            attendance.round(Some(Duration::from_millis(1)));
        }
        drop(attendance);
        peer.write_all(b"watch").unwrap();
        assert_eq!(room.hear(), (1, b"watch".to_vec()), "turn {turn}");
    }
    runtime.shutdown_background();
}

#[test]
fn the_watch_reads_what_a_thread_has_left() {
    let room = Room::new();
    let mut peers: Vec<_> = (1..=3).map(|id| room.add(id, Some(BYTES))).collect();
    for peer in &mut peers {
        peer.write_all(b"x").unwrap();
    }
    room.poller.attend().unwrap().round(Some(LIMIT));
    let runtime = room.watched();
    let heard = [room.hear().0, room.hear().0, room.hear().0];
    assert_eq!(heard.iter().sum::<u64>(), 6);
    runtime.shutdown_background();
}

#[test]
fn the_watch_stands_in_at_once_if_no_turn_ends_and_later_if_turns_end() {
    let room = Room::new();
    let still = &mut Watch::default();
    assert!(matches!(room.poller.look(still), Look::StandIn));
    room.poller.stand_down();
    let moving = &mut Watch::default();
    for tick in 1..LONGEST {
        room.poller.note_turn();
        assert!(
            matches!(room.poller.look(moving), Look::Wait),
            "tick {tick}"
        );
    }
    room.poller.note_turn();
    assert!(matches!(room.poller.look(moving), Look::StandIn));
}

#[test]
fn the_watch_waits_a_tick_after_a_thread_has_left() {
    let room = Room::new();
    let watch = &mut Watch::default();
    drop(room.poller.attend());
    assert!(matches!(room.poller.look(watch), Look::Wait));
    assert!(matches!(room.poller.look(watch), Look::StandIn));
}

#[test]
fn the_watch_ends_after_ticks_in_which_a_thread_attends() {
    let room = Room::new();
    let watch = &mut Watch::default();
    let _attendance = room.poller.attend().unwrap();
    for _ in 1..QUIET {
        assert!(matches!(room.poller.look(watch), Look::Wait));
    }
    assert!(matches!(room.poller.look(watch), Look::End));
    assert!(!lock(&room.poller.state).watched);
}

#[test]
fn the_lookout_tells_of_ready_sockets_only_while_the_poller_is_shown() {
    let room = Room::new();
    let (mut outer, mut events) = (Poll::new().unwrap(), Events::with_capacity(1));
    let lookout = room.poller.lookout.as_raw_fd();
    outer
        .registry()
        .register(&mut SourceFd(&lookout), POLLER, Interest::READABLE)
        .unwrap();
    let mut told = || {
        outer.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    };
    let mut peer = room.add(1, None);
    for _ in 0..3 {
        peer.write_all(b"hidden").unwrap();
        assert!(!told());
        room.poller.lookout.show().unwrap();
        // What was ready before is for a round to find.
        assert_eq!(room.poller.late_round(), 1);
        told();
        peer.write_all(b"shown").unwrap();
        assert!(told());
        room.poller.late_round();
        room.poller.lookout.hide().unwrap();
    }
}
