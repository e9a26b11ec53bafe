//! Two or three nodes, step by step; `tests/rust/presence.rs` has many, at random.

use super::*;

struct Node {
    presence: Presence,
    /// `+id` and `-id`, in the order in which they were told.
    told: Vec<String>,
    sent: Vec<Vec<u8>>,
}

impl Node {
    fn new(name: &str) -> Self {
        Self {
            presence: Presence::new(name.into()),
            told: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(message) => self.sent.push(message),
                Output::Joined(group, member) => {
                    self.told.push(format!("+{group}:{}", member.id));
                }
                Output::Left(group, member) => self.told.push(format!("-{group}:{}", member.id)),
            }
        }
    }

    fn join(&mut self, group: &str, id: &str, now: Instant) {
        let outputs = self.presence.join(group, member(id, "{}"), now);
        self.perform(outputs);
    }

    fn leave(&mut self, group: &str, id: &str, now: Instant) {
        let outputs = self.presence.leave(group, id, now);
        self.perform(outputs);
    }

    fn tick(&mut self, now: Instant) {
        let outputs = self.presence.tick(now);
        self.perform(outputs);
    }

    fn hear(&mut self, messages: &[Vec<u8>], now: Instant) {
        for message in messages {
            let outputs = self.presence.receive(message, now);
            self.perform(outputs);
        }
    }

    fn say(&mut self) -> Vec<Vec<u8>> {
        mem::take(&mut self.sent)
    }

    fn told(&mut self) -> Vec<String> {
        mem::take(&mut self.told)
    }

    fn ids(&self, group: &str) -> Vec<String> {
        let members = self.presence.members(group);
        assert_eq!(self.presence.count(group), members.len());
        let counted = self.presence.counts(group).remove(group);
        assert_eq!(counted.unwrap_or(0), members.len());
        members.iter().map(|member| member.id.to_string()).collect()
    }
}

fn member(id: &str, info: &str) -> Member {
    Member {
        id: id.into(),
        info: info.into(),
    }
}

/// Exchanges the messages of two nodes until neither has one to send.
fn talk(a: &mut Node, b: &mut Node, now: Instant) {
    for _ in 0..10 {
        let (from_a, from_b) = (a.say(), b.say());
        a.hear(&from_b, now);
        b.hear(&from_a, now);
    }
    assert!(
        a.sent.is_empty() && b.sent.is_empty(),
        "they go on for ever"
    );
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn members_of_others_have_a_limit_in_all() {
    let now = Instant::now();
    let mut presence = Presence::new("me".into());
    let member = |id: &str| Member {
        id: id.into(),
        info: "{}".into(),
    };
    let hear = |presence: &mut Presence, version, id| {
        presence.receive(&wire::join("n", version, "g", &member(id)), now)
    };
    assert_eq!(hear(&mut presence, 1, "n-1").len(), 1);
    let held = presence.held;
    assert!(held > 0);
    presence.held = MAX_HELD;
    assert_eq!(hear(&mut presence, 2, "n-2"), []);
    assert_eq!(presence.ignored(), 1);
    // The node is not asked again and again for members that there is no room for.
    for seconds in 1..7 {
        let outputs = presence.tick(now + Duration::from_secs(seconds));
        assert!(!outputs.contains(&Output::Send(wire::ask("me", "n"))));
    }
    // A node that has gone makes room.
    presence.held = held;
    let outputs = presence.tick(now + LEASE);
    assert!(outputs.contains(&Output::Left("g".into(), member("n-1"))));
    assert_eq!(presence.held, 0);
}

#[test]
fn a_node_knows_its_own_members_without_anybody_else() {
    let now = Instant::now();
    let mut a = Node::new("a");
    a.join("g", "a-2", now);
    a.join("g", "a-1", now);
    a.join("h", "a-1", now);
    a.leave("g", "a-2", now);
    a.leave("g", "a-2", now);
    a.leave("nowhere", "a-1", now);
    assert_eq!(a.told(), ["+g:a-2", "+g:a-1", "+h:a-1", "-g:a-2"]);
    assert_eq!(a.ids("g"), ["a-1"]);
    assert_eq!(a.ids("nowhere"), [""; 0]);
}

#[test]
fn a_member_that_joins_again_with_another_info_leaves_first() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", now);
    a.join("g", "a-1", now);
    assert_eq!(a.sent.len(), 1, "joining twice is joining once");
    let outputs = a.presence.join("g", member("a-1", r#"{"n":1}"#), now);
    a.perform(outputs);
    talk(&mut a, &mut b, now);
    assert_eq!(a.told(), ["+g:a-1", "-g:a-1", "+g:a-1"]);
    assert_eq!(b.told(), ["+g:a-1", "-g:a-1", "+g:a-1"]);
    assert_eq!(b.presence.members("g"), [member("a-1", r#"{"n":1}"#)]);
}

#[test]
fn joins_and_leaves_are_told_at_once() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", now);
    b.join("g", "b-1", now);
    talk(&mut a, &mut b, now);
    assert_eq!(a.ids("g"), ["a-1", "b-1"]);
    assert_eq!(b.ids("g"), ["b-1", "a-1"]);
    a.leave("g", "a-1", now);
    talk(&mut a, &mut b, now);
    assert_eq!(b.told(), ["+g:b-1", "+g:a-1", "-g:a-1"]);
}

#[test]
fn a_new_node_hears_of_those_that_are_there() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", now);
    a.say();
    let hello = b.presence.reconnected(now);
    b.perform(hello);
    talk(&mut a, &mut b, now);
    assert_eq!(b.ids("g"), ["a-1"]);
}

#[test]
fn it_is_known_when_all_who_are_there_have_said_who_is_there() {
    let start = Instant::now();
    let quiet = start + QUIET;
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", start);
    a.say();
    assert!(!b.presence.is_settled(start), "it has asked nobody yet");
    let hello = b.presence.reconnected(start);
    b.perform(hello);
    a.hear(&b.say(), start);
    assert!(!b.presence.is_settled(start));
    // The answer has come, but the roster has not.
    b.hear(&a.say(), start);
    assert!(!b.presence.is_settled(quiet));
    talk(&mut a, &mut b, start);
    assert!(!b.presence.is_settled(quiet - Duration::from_millis(1)));
    assert!(b.presence.is_settled(quiet));

    // After a reconnect, a known node has to be heard again, but is not waited for longer than
    // `MAX_SETTLING`.
    let again = start + seconds(3);
    b.presence.reconnected(again);
    assert!(!b.presence.is_settled(again + QUIET));
    assert!(b.presence.is_settled(again + MAX_SETTLING));
}

#[test]
fn who_asks_a_moment_after_a_beat_is_answered_soon() {
    let start = Instant::now();
    let mut a = Node::new("a");
    a.tick(start);
    a.say();
    assert_eq!(a.presence.due(start), None);
    a.hear(&[wire::hello("b", 0)], start);
    assert_eq!(a.presence.due(start), Some(BEAT_PAUSE));
    a.tick(start + BEAT_PAUSE);
    assert_eq!(a.say(), [wire::beat("a", 0)]);
    assert_eq!(a.presence.due(start + BEAT_PAUSE), None);

    a.join("g", "a-1", start);
    a.hear(&[wire::ask("b", "a")], start);
    assert_eq!(a.say().len(), 2, "the join, and the roster at once");
    a.hear(&[wire::ask("c", "a")], start);
    assert_eq!(a.presence.due(start), Some(ROSTER_PAUSE));
    // An answer to another node is no reason to send a roster early.
    a.tick(start + BEAT_PAUSE);
    assert!(a.say().is_empty());
    a.tick(start + ROSTER_PAUSE);
    assert_eq!(a.say().len(), 1);
}

#[test]
fn a_lost_message_is_found_out_and_made_up_for() {
    let start = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", start);
    talk(&mut a, &mut b, start);
    a.leave("g", "a-1", start);
    a.say();
    a.join("g", "a-2", start);
    talk(&mut a, &mut b, start);
    assert_eq!(b.told(), ["+g:a-1"], "what follows a gap waits");
    for second in 1..4 {
        a.tick(start + seconds(second));
        b.tick(start + seconds(second));
        talk(&mut a, &mut b, start + seconds(second));
    }
    assert_eq!(b.told(), ["-g:a-1", "+g:a-2"]);
}

#[test]
fn a_lost_last_message_is_found_out_by_the_beat() {
    let start = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", start);
    talk(&mut a, &mut b, start);
    a.leave("g", "a-1", start);
    a.say();
    for second in 1..4 {
        a.tick(start + seconds(second));
        b.tick(start + seconds(second));
        talk(&mut a, &mut b, start + seconds(second));
    }
    assert_eq!(b.told(), ["+g:a-1", "-g:a-1"]);
}

#[test]
fn messages_that_overtake_each_other_need_no_roster() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    for index in 1..=3 {
        a.join("g", &format!("a-{index}"), now);
    }
    let mut messages = a.say();
    b.hear(&messages[..1], now);
    messages.reverse();
    b.hear(&messages, now);
    assert_eq!(b.told(), ["+g:a-1", "+g:a-2", "+g:a-3"]);
    b.tick(now);
    assert_eq!(b.say(), [wire::beat("b", 0)]);
}

#[test]
fn a_node_that_falls_silent_is_gone_after_its_lease() {
    let start = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    a.join("g", "a-1", start);
    a.join("h", "a-1", start);
    talk(&mut a, &mut b, start);
    b.tick(start + LEASE - Duration::from_millis(1));
    assert_eq!(b.ids("g"), ["a-1"]);
    b.told();
    b.tick(start + LEASE);
    let mut told = b.told();
    told.sort();
    assert_eq!(told, ["-g:a-1", "-h:a-1"]);
    assert_eq!(b.ids("g"), [""; 0]);
    // The node was only slow: it is back with its next message.
    a.tick(start + seconds(8));
    talk(&mut a, &mut b, start + seconds(8));
    assert_eq!(b.ids("g"), ["a-1"]);
}

#[test]
fn many_who_ask_are_answered_together() {
    let start = Instant::now();
    let mut a = Node::new("a");
    a.join("g", "a-1", start);
    a.say();
    let asks: Vec<_> = (0..50).map(|n| wire::ask(&format!("b{n}"), "a")).collect();
    a.hear(&asks, start);
    assert_eq!(a.say().len(), 1, "the first gets an answer at once");
    a.tick(start + seconds(1));
    assert_eq!(
        a.say().len(),
        2,
        "the others share one, and there is the beat"
    );
    let hellos: Vec<_> = (0..50).map(|n| wire::hello(&format!("b{n}"), 0)).collect();
    a.hear(&hellos, start + seconds(1));
    a.tick(start + seconds(2));
    assert_eq!(a.say().len(), 1, "one beat for all");
}

#[test]
fn a_large_roster_arrives_in_parts() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let info = format!(r#"{{"about":"{}"}}"#, "x".repeat(1_000));
    for index in 0..2_000 {
        let outputs = a
            .presence
            .join("g", member(&format!("a-{index}"), &info), now);
        a.perform(outputs);
    }
    a.say();
    b.hear(&[wire::beat("a", 2_000)], now);
    a.hear(&b.say(), now);
    let parts = a.say();
    assert!(parts.len() > 5 && parts.iter().all(|part| part.len() <= 256 * 1024));
    // One part is lost: the others are of no use.
    b.hear(&parts[..2], now);
    b.hear(&parts[3..], now);
    assert_eq!(b.presence.count("g"), 0);
    b.hear(&parts, now);
    assert_eq!(b.presence.count("g"), 2_000);
}

#[test]
fn what_happens_while_a_roster_is_on_its_way_is_not_lost() {
    let now = Instant::now();
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    for index in 1..=3 {
        a.join("g", &format!("a-{index}"), now);
    }
    a.say();
    a.hear(&[wire::ask("b", "a")], now);
    let roster = a.say();
    a.leave("g", "a-2", now);
    b.hear(&a.say(), now);
    b.hear(&roster, now);
    assert_eq!(b.ids("g"), ["a-1", "a-3"]);
    b.hear(&roster, now);
    assert_eq!(b.ids("g"), ["a-1", "a-3"], "an old roster changes nothing");
}

#[test]
fn an_info_that_is_too_large_is_left_out() {
    let now = Instant::now();
    let mut a = Presence::new("a".into());
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(MAX_INFO));
    a.join("g", member("a-1", &large), now);
    assert_eq!(a.members("g"), [member("a-1", "{}")]);
}

#[test]
fn a_name_that_cannot_be_told_is_not_taken() {
    let now = Instant::now();
    let mut a = Node::new("a");
    a.join("", "a-1", now);
    a.join(&"g".repeat(1025), "a-1", now);
    a.join("g", "", now);
    a.join("g", &"a".repeat(1025), now);
    assert_eq!((a.told().len(), a.say().len()), (0, 0));
}

#[test]
fn own_messages_and_nonsense_are_ignored() {
    let now = Instant::now();
    let mut a = Node::new("a");
    a.join("g", "a-1", now);
    a.told();
    let own = a.say();
    a.hear(&own, now);
    a.hear(&[vec![], vec![1], b"{\"type\":\"join\"}".to_vec()], now);
    assert_eq!((a.told().len(), a.say().len()), (0, 0));
}

#[test]
fn strangers_cannot_fill_the_memory() {
    let now = Instant::now();
    let mut a = Node::new("a");
    for index in 0..MAX_NODES + 10 {
        a.hear(&[wire::beat(&format!("x{index}"), 0)], now);
    }
    assert_eq!(a.presence.peers.len(), MAX_NODES);
    let change = wire::leave("x1", u64::MAX, "g", "x1-1");
    a.hear(&[change], now);
    for version in (2..u64::MAX).rev().take(1_000) {
        a.hear(&[wire::leave("x1", version, "g", "x1-1")], now);
    }
    assert_eq!(a.ids("g"), [""; 0]);
}
