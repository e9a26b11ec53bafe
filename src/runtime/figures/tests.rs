//! Directories with the files of processes that have ended; `tests/servers/test_monitor.py` has living ones.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use super::{
    block::Block,
    directory::{self, read},
    file::{DEAD, LIVE, SOCKET, open_directory, write},
    layout::{Counter, Policy},
};

/// A directory that is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "figures-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        open_directory(&path, true).unwrap();
        Self(path)
    }

    /// Leaves the file of a process that has ended.
    fn ended(&self, number: u64, fill: impl FnOnce(&Block)) -> PathBuf {
        let path = self.0.join(format!("{number:016x}.{LIVE}"));
        write(&path, |block| {
            fill(block);
            block.claim(number, 7, 8);
        })
        .unwrap();
        fs::write(path.with_extension(SOCKET), "").unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|one| one.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn some(block: &Block) {
    block.add(Counter::Opened, 5);
    block.closed(1000, false);
    block.closed(4000, true);
    block.stripe(3).sent(10);
    block.stripe(4).received(20);
    block.stripe(4).dropped(Policy::Block, 2);
    block.refused(403);
    block.round_trip(Duration::from_millis(3));
}

#[test]
fn the_counts_of_processes_that_have_ended_stay() {
    let place = Place::new();
    for number in 1..=3 {
        place.ended(number, some);
        let machine = read(&place.0).unwrap();
        assert_eq!(machine.processes, []);
        let shown = machine.totals.shown();
        assert_eq!(shown["opened"], 5 * number);
        assert_eq!(shown["closed"]["1000"], number);
        assert_eq!(shown["closed"]["4000"], number);
        // The three that were open.
        assert_eq!(shown["closed"]["1006"], 3 * number);
        assert_eq!(shown["sent_messages"], number);
        assert_eq!(shown["received_bytes"], 20 * number);
        assert_eq!(shown["dropped"]["block"], 2 * number);
        assert_eq!(shown["refused"]["403"], number);
        assert_eq!(shown["round_trips"]["counts"][2], number);
        assert_eq!(machine.totals.open(), 0);
    }
    assert_eq!(place.names(), [DEAD, "lock"]);
}

#[test]
fn a_process_that_was_added_but_not_removed_counts_once() {
    let place = Place::new();
    let path = place.ended(9, some);
    let copy = fs::read(&path).unwrap();
    read(&place.0).unwrap();
    // As if the reader had died between its two steps.
    fs::write(&path, copy).unwrap();
    for _ in 0..2 {
        assert_eq!(read(&place.0).unwrap().totals.get(Counter::Opened), 5);
    }
    assert!(!path.exists());
}

#[test]
fn a_process_that_was_added_but_not_removed_is_removed_before_others_are_added() {
    let place = Place::new();
    let path = place.ended(9, some);
    let copy = fs::read(&path).unwrap();
    read(&place.0).unwrap();
    fs::write(&path, copy).unwrap();
    for number in (1..=8).chain(10..=20) {
        place.ended(number, some);
    }
    for _ in 0..2 {
        assert_eq!(read(&place.0).unwrap().totals.get(Counter::Opened), 5 * 20);
    }
    assert_eq!(place.names(), [DEAD, "lock"]);
}

#[test]
fn while_another_process_tidies_up_the_figures_are_the_same() {
    let place = Place::new();
    let path = place.ended(9, some);
    let lock = fs::File::create(place.0.join("lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(read(&place.0).unwrap().totals.get(Counter::Opened), 5);
    assert!(path.exists());
    drop(lock);
    assert_eq!(read(&place.0).unwrap().totals.get(Counter::Opened), 5);
    assert!(!path.exists());
}

#[test]
fn readers_and_tidiers_at_once_always_see_the_same_sum() {
    let place = Place::new();
    for number in 1..=40 {
        place.ended(number, some);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let machine = read(&place.0).unwrap();
                    assert_eq!(machine.totals.get(Counter::Opened), 5 * 40);
                }
            });
        }
    });
}

#[test]
fn strange_files_are_left_out_and_left_alone() {
    let place = Place::new();
    let strange = |number: u64| place.0.join(format!("{number:016x}.{LIVE}"));
    fs::write(strange(1), "x").unwrap();
    fs::write(strange(2), vec![0; Block::SIZE]).unwrap();
    fs::write(strange(3), vec![255; Block::SIZE]).unwrap();
    symlink("/etc/passwd", strange(4)).unwrap();
    fs::create_dir(strange(5)).unwrap();
    fs::write(place.0.join(DEAD), "x").unwrap();
    place.ended(9, some);
    assert_eq!(read(&place.0).unwrap().totals.get(Counter::Opened), 5);
    assert!((1..=5).all(|number| strange(number).symlink_metadata().is_ok()));
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    let place = Place::new();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    let error = read(&place.0).unwrap_err().to_string();
    assert!(error.contains("755") && error.contains("700"), "{error}");
}

#[test]
fn a_link_a_file_and_a_long_path_are_no_directory() {
    let place = Place::new();
    let (link, file) = (place.0.join("link"), place.0.join("file"));
    symlink(&place.0, &link).unwrap();
    fs::write(&file, "").unwrap();
    let long = place.0.join("x".repeat(100));
    for path in [&link, &file, &long] {
        assert!(open_directory(path, true).is_err(), "{}", path.display());
    }
    assert!(read(Path::new("/nowhere/at/all")).is_err());
}

#[test]
fn codes_of_applications_count_by_themselves_only_if_this_side_says_them() {
    let block = Block::new();
    for (code, own) in [
        (999, false),
        (1001, false),
        (3000, false),
        (4001, false),
        (4001, true),
    ] {
        block.closed(code, own);
    }
    let shown = block.totals().shown();
    let closed = &shown["closed"];
    for name in ["other", "1001", "3xxx", "4xxx", "4001"] {
        assert_eq!(closed[name], 1, "{name}");
    }
    for status in [200, 400, 599, 600] {
        block.refused(status);
    }
    let shown = block.totals().shown();
    assert_eq!(shown["refused"]["other"], 2);
    assert_eq!(
        (&shown["refused"]["400"], &shown["refused"]["599"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn early_counts_move_into_the_file() {
    let (early, file) = (Block::new(), Block::new());
    some(&early);
    some(&file);
    let mut sum = early.totals();
    sum.add(&file.totals());
    early.move_to(&file);
    assert_eq!(file.totals(), sum);
    assert_eq!(early.totals(), Block::new().totals());
    let _ = directory::hostname();
}

#[test]
fn round_trips_fall_into_ranges() {
    let block = Block::new();
    for millis in [0, 1, 2, 60_000] {
        block.round_trip(Duration::from_millis(millis));
    }
    let shown = block.totals().shown();
    let counts = shown["round_trips"]["counts"].as_array().unwrap();
    assert_eq!(
        (&counts[0], &counts[1], &counts[13]),
        (&2.into(), &1.into(), &1.into())
    );
    assert_eq!(
        counts.len(),
        shown["round_trips"]["bounds"].as_array().unwrap().len()
    );
}
