//! Properties of presence: many nodes, a broker that loses messages, nodes that die.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use dwebsocket::hub::presence::{Member, Output, Presence};
use proptest::{collection::vec, prelude::*, sample::Index};

/// Time after which the members of a dead node must be gone on all other nodes.
const GONE: Duration = Duration::from_secs(10);

/// The longest time between two ticks of a node.
const SLOWEST_TICK: Duration = Duration::from_millis(1200);

/// The longest time that a message is on its way.
const DELAY: Duration = Duration::from_millis(400);

const GROUPS: [&str; 3] = ["chat.1", "chat.2", "ü"];

/// An event in the world.
#[derive(Clone, Debug)]
enum Step {
    Join(Index, usize, u8),
    Leave(Index, usize, u8),
    /// A new process starts.
    Start,
    /// A process dies without a message.
    Kill(Index),
    /// A node loses the broker: its messages and those to it are lost.
    Part(Index),
    /// A node reconnects to the broker, and notices it.
    Mend(Index),
    /// The broker loses this percentage of messages from now on.
    Lose(u8),
    /// Time passes, in milliseconds.
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = any::<Index>;
    let step = prop_oneof![
        6 => (node(), 0..GROUPS.len(), 0u8..4).prop_map(|(node, group, id)| Step::Join(node, group, id)),
        4 => (node(), 0..GROUPS.len(), 0u8..4).prop_map(|(node, group, id)| Step::Leave(node, group, id)),
        1 => Just(Step::Start),
        1 => node().prop_map(Step::Kill),
        1 => node().prop_map(Step::Part),
        1 => node().prop_map(Step::Mend),
        1 => prop_oneof![Just(0u8), 0u8..60].prop_map(Step::Lose),
        6 => (1u16..5_000).prop_map(Step::Wait),
    ];
    vec(step, 1..120)
}

/// Pseudo-random numbers; the same seed gives the same numbers.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.below(longest.as_millis() as u64 + 1))
    }
}

type Known = BTreeSet<(String, String, String)>;

struct Node {
    presence: Presence,
    name: String,
    /// The members by the joins and leaves that the node has reported.
    known: Known,
    own: Known,
    parted: bool,
    next_tick: Instant,
    /// The messages on their way to the node. They do not overtake each other.
    incoming: Vec<(Instant, Arc<[u8]>)>,
}

struct World {
    now: Instant,
    chance: Chance,
    loss: u64,
    started: usize,
    nodes: Vec<Node>,
    dead: BTreeMap<String, Instant>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            now: Instant::now(),
            chance: Chance(seed),
            loss: 0,
            started: 0,
            nodes: Vec::new(),
            dead: BTreeMap::new(),
        };
        world.start();
        world.start();
        world
    }

    fn start(&mut self) {
        if self.nodes.len() >= 6 {
            return;
        }
        self.started += 1;
        let name = format!("node{}", self.started);
        self.nodes.push(Node {
            presence: Presence::new(name.as_str().into()),
            name,
            known: Known::new(),
            own: Known::new(),
            parted: false,
            next_tick: self.now + self.chance.up_to(SLOWEST_TICK),
            incoming: Vec::new(),
        });
        self.act(self.nodes.len() - 1, Presence::reconnected);
    }

    /// Makes a node act, checks the joins and leaves that it reports, and sends its messages.
    fn act(&mut self, place: usize, act: impl FnOnce(&mut Presence, Instant) -> Vec<Output>) {
        let now = self.now;
        let outputs = act(&mut self.nodes[place].presence, now);
        for output in outputs {
            let node = &mut self.nodes[place];
            let entry = |group: Arc<str>, member: Member| {
                (
                    group.to_string(),
                    member.id.to_string(),
                    member.info.to_string(),
                )
            };
            match output {
                Output::Joined(group, member) => {
                    let entry = entry(group, member);
                    assert!(
                        !node
                            .known
                            .iter()
                            .any(|(group, id, _)| (group, id) == (&entry.0, &entry.1)),
                        "{} joined twice at {}",
                        entry.1,
                        node.name,
                    );
                    node.known.insert(entry);
                }
                Output::Left(group, member) => {
                    let entry = entry(group, member);
                    assert!(
                        node.known.remove(&entry),
                        "{} left twice at {}",
                        entry.1,
                        node.name
                    );
                }
                Output::Send(message) => self.send(place, message.into()),
            }
        }
    }

    fn send(&mut self, from: usize, message: Arc<[u8]>) {
        assert!(message.len() <= 256 * 1024);
        if self.nodes[from].parted {
            return;
        }
        for node in &mut self.nodes {
            if node.parted || self.chance.below(100) < self.loss {
                continue;
            }
            let earliest = node.incoming.last().map_or(self.now, |(due, _)| *due);
            let due = earliest.max(self.now + self.chance.up_to(DELAY));
            node.incoming.push((due, Arc::clone(&message)));
        }
    }

    /// Lets time pass, in small steps.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(50);
            for place in 0..self.nodes.len() {
                let node = &mut self.nodes[place];
                let due = node.incoming.partition_point(|(due, _)| *due <= self.now);
                let messages: Vec<_> = node.incoming.drain(..due).collect();
                let ticks = node.next_tick <= self.now;
                for (_, message) in messages {
                    self.act(place, |presence, now| presence.receive(&message, now));
                }
                if ticks {
                    let half = SLOWEST_TICK / 2;
                    self.nodes[place].next_tick = self.now + half + self.chance.up_to(half);
                    self.act(place, Presence::tick);
                }
            }
            self.check();
        }
    }

    /// Checks the properties that hold at any time.
    fn check(&self) {
        for node in &self.nodes {
            assert_eq!(
                members(&node.presence),
                node.known,
                "members() of {}",
                node.name
            );
            for (_, id, _) in &node.known {
                let owner = id.split('-').next().unwrap_or_default();
                if let Some(died) = self.dead.get(owner) {
                    assert!(self.now <= *died + GONE, "{id} is still at {}", node.name);
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let count = self.nodes.len();
        match step {
            Step::Join(node, group, id) if count > 0 => {
                let (place, group) = (node.index(count), GROUPS[*group]);
                let info = format!(r#"{{"n":{}}}"#, self.chance.below(3));
                let id = format!("{}-{id}", self.nodes[place].name);
                let own = &mut self.nodes[place].own;
                own.retain(|(other, member, _)| (other.as_str(), member) != (group, &id));
                own.insert((group.into(), id.clone(), info.clone()));
                let member = Member {
                    id: id.into(),
                    info: info.into(),
                };
                self.act(place, |presence, now| presence.join(group, member, now));
            }
            Step::Leave(node, group, id) if count > 0 => {
                let (place, group) = (node.index(count), GROUPS[*group]);
                let id = format!("{}-{id}", self.nodes[place].name);
                let own = &mut self.nodes[place].own;
                own.retain(|(other, member, _)| (other.as_str(), member) != (group, &id));
                self.act(place, |presence, now| presence.leave(group, &id, now));
            }
            Step::Start => self.start(),
            Step::Kill(node) if count > 0 => {
                let node = self.nodes.swap_remove(node.index(count));
                // Messages of the dead node may still arrive.
                self.dead.insert(node.name, self.now);
            }
            Step::Part(node) if count > 0 => self.nodes[node.index(count)].parted = true,
            Step::Mend(node) if count > 0 => self.mend(node.index(count)),
            Step::Lose(percent) => self.loss = u64::from(*percent),
            Step::Wait(time) => self.wait(Duration::from_millis(u64::from(*time))),
            _ => {}
        }
    }

    fn mend(&mut self, place: usize) {
        if std::mem::take(&mut self.nodes[place].parted) {
            self.act(place, Presence::reconnected);
        }
    }

    /// Ends all disturbances, waits, and checks that all nodes know the same members.
    fn settle(&mut self) {
        self.loss = 0;
        for place in 0..self.nodes.len() {
            self.mend(place);
        }
        self.wait(GONE);
        let all: Known = self
            .nodes
            .iter()
            .flat_map(|node| node.own.clone())
            .collect();
        for node in &self.nodes {
            assert_eq!(node.known, all, "what {} knows", node.name);
        }
    }
}

fn members(presence: &Presence) -> Known {
    let mut known = Known::new();
    for group in GROUPS {
        let members = presence.members(group);
        assert_eq!(presence.count(group), members.len());
        known.extend(members.into_iter().map(|member| {
            (
                group.to_owned(),
                member.id.to_string(),
                member.info.to_string(),
            )
        }));
    }
    known
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn all_nodes_come_to_know_the_same(seed: u64, steps in steps()) {
        let mut world = World::new(seed);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        // When all members leave, each join has its leave.
        for place in 0..world.nodes.len() {
            for (group, id, _) in std::mem::take(&mut world.nodes[place].own) {
                world.act(place, |presence, now| presence.leave(&group, &id, now));
            }
        }
        world.settle();
    }

    #[test]
    fn garbled_messages_do_no_harm(
        messages in vec((any::<Index>(), any::<Index>(), any::<u8>(), any::<bool>()), 1..40),
    ) {
        let now = Instant::now();
        let (mut a, mut b) = (Presence::new("a".into()), Presence::new("b".into()));
        let mut said = Vec::new();
        for id in 0..10 {
            let member = Member { id: format!("a-{id}").into(), info: "{}".into() };
            said.extend(a.join("chat.1", member, now));
        }
        said.extend(a.reconnected(now));
        said.extend(a.tick(now + Duration::from_secs(2)));
        let said: Vec<Vec<u8>> = said
            .into_iter()
            .filter_map(|output| match output {
                Output::Send(message) => Some(message),
                Output::Joined(..) | Output::Left(..) => None,
            })
            .collect();
        for (which, place, byte, cut) in messages {
            let mut message = which.get(&said).clone();
            let place = place.index(message.len());
            message[place] = byte;
            if cut {
                message.truncate(place);
            }
            b.receive(&message, now);
            b.tick(now);
        }
    }
}
