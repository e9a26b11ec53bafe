//! The files of all processes of a site on one machine.
//!
//! A process that has ended leaves its file. Whoever looks at the directory later adds its counts to those
//! of the dead, and removes it. Readers take no lock: the counts of the dead are replaced as a whole
//! before a file is removed, and they name the process that was added last.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    Figures, Totals, figures,
    file::{DEAD, Foreign, LIVE, LOCK, SOCKET, open_directory, user, write},
};

/// How often a reader begins again because the counts of the dead change.
const ATTEMPTS: usize = 10;

/// A process of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The number that distinguishes the process from all others.
    pub number: u64,
    /// The process id.
    pub pid: u32,
    /// When the process began to count, in seconds since 1970.
    pub started: u64,
    /// Whether the process is about to end.
    pub stopping: bool,
    /// Its open connections.
    pub connections: u64,
    /// The path of the socket on which the process answers questions. There may be none.
    pub socket: PathBuf,
}

/// The processes of a site on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Identifies the directory among those of other machines.
    pub place: String,
    /// The processes that live, by number.
    pub processes: Vec<Process>,
    /// The counts of all processes, the dead included.
    pub totals: Totals,
}

/// Reads the figures of all processes that use a directory.
///
/// # Errors
///
/// The directory is not there, or not this user's own.
pub fn read(directory: &Path) -> io::Result<Machine> {
    let opened = open_directory(directory, false)?;
    let found = opened.metadata()?;
    let owner = found.uid();
    if found.uid() == user() {
        let _ = tidy(directory);
    }
    let mut machine = Machine::default();
    for attempt in 0..=ATTEMPTS {
        // The last attempt waits until nobody changes the counts of the dead.
        let _still = (attempt == ATTEMPTS).then(|| still(directory));
        let dead = Foreign::open(&directory.join(DEAD), owner);
        let (last, merges) = merged(dead.as_ref());
        machine = read_once(directory, owner, dead.as_ref(), last);
        let now = Foreign::open(&directory.join(DEAD), owner);
        if merged(now.as_ref()).1 == merges {
            break;
        }
    }
    machine.place = format!("{}:{:x}:{:x}", hostname(), found.dev(), found.ino());
    machine.processes.sort_by_key(|one| one.number);
    Ok(machine)
}

/// Keeps others from changing the counts of the dead; gives up after half a second.
fn still(directory: &Path) -> Option<File> {
    let lock = File::open(directory.join(LOCK)).ok()?;
    for _ in 0..500 {
        if lock.try_lock_shared().is_ok() {
            return Some(lock);
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

fn read_once(directory: &Path, owner: u32, dead: Option<&Foreign>, last: u64) -> Machine {
    let mut machine = Machine::default();
    if let Some(block) = dead.and_then(Foreign::block) {
        machine.totals.add(&block.totals());
    }
    if let Some(own) = own(directory) {
        let totals = own.totals();
        machine.processes.push(Process {
            number: own.number,
            pid: std::process::id(),
            started: own.started,
            stopping: own.block().owner().3,
            connections: totals.open(),
            socket: directory.join(format!("{:016x}.{SOCKET}", own.number)),
        });
        machine.totals.add(&totals);
    }
    for path in files(directory) {
        let Some(file) = Foreign::open(&path, owner) else {
            continue;
        };
        let Some(block) = file.block() else {
            continue;
        };
        let (number, pid, started, stopping) = block.owner();
        let mut totals = block.totals();
        if file.lives {
            machine.processes.push(Process {
                number,
                pid,
                started,
                stopping,
                connections: totals.open(),
                socket: path.with_extension(SOCKET),
            });
        } else if number == last {
            continue;
        } else {
            totals.bury();
        }
        machine.totals.add(&totals);
    }
    machine
}

/// Adds the counts of processes that have ended to those of the dead, and removes their files. Does
/// nothing while another process does it.
pub(super) fn tidy(directory: &Path) -> io::Result<()> {
    let owner = fs::metadata(directory)?.uid();
    let dead = |path: &PathBuf| Foreign::open(path, owner).is_some_and(|file| !file.lives);
    let mut ended: Vec<_> = files(directory).filter(dead).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(directory.join(LOCK))?;
    if lock.try_lock().is_err() {
        return Ok(());
    }
    // A tidier may have died before it removed the file that it had added. This one goes first: when another
    // one is added, nothing tells any more that it was.
    let (last, _) = merged(Foreign::open(&directory.join(DEAD), owner).as_ref());
    let number = |path: &PathBuf| Some(Foreign::open(path, owner)?.block()?.owner().0);
    ended.sort_by_cached_key(|path| number(path) != Some(last));
    let done = ended
        .iter()
        .try_for_each(|path| bury(directory, path, owner));
    drop::<File>(lock);
    done
}

/// Adds the counts of one process to those of the dead. The caller has the lock.
fn bury(directory: &Path, path: &Path, owner: u32) -> io::Result<()> {
    // Another process may have removed the file before this one had the lock.
    let Some(file) = Foreign::open(path, owner) else {
        return Ok(());
    };
    let Some(block) = file.block() else {
        return Ok(());
    };
    let (number, ..) = block.owner();
    let grave = directory.join(DEAD);
    let before = Foreign::open(&grave, owner);
    let (last, merges) = merged(before.as_ref());
    if number != last {
        let mut totals = block.totals();
        totals.bury();
        if let Some(before) = before.as_ref().and_then(Foreign::block) {
            totals.add(&before.totals());
        }
        write(&grave, |fresh| {
            fresh.put(&totals);
            fresh.set_merged((number, merges + 1));
            fresh.claim(0, 0, 0);
        })?;
    }
    fs::remove_file(path)?;
    let _ = fs::remove_file(path.with_extension(SOCKET));
    Ok(())
}

fn merged(dead: Option<&Foreign>) -> (u64, u64) {
    dead.and_then(Foreign::block)
        .map_or((0, 0), super::block::Block::merged)
}

/// The figures of this process, if they are in this directory.
fn own(directory: &Path) -> Option<&'static Figures> {
    figures().filter(|own| own.directory().is_some_and(|place| place == directory))
}

/// The files of the other processes.
fn files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // This process must not open its own file: see `file`.
    let own = figures().map(|own| format!("{:016x}", own.number));
    entries.map(|entry| entry.path()).filter(move |path| {
        let ends = path.extension().is_some_and(|end| end == LIVE);
        ends && path.file_stem().and_then(|stem| stem.to_str()) != own.as_deref()
    })
}

/// The name of this machine.
#[must_use]
pub fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
