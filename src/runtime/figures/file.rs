//! The file in which a process keeps its figures, and the lock that says that the process lives.
//!
//! The lock is a POSIX record lock: the kernel releases it when the process ends in any way, and a child
//! of a fork does not inherit it. A process must never open its own file again, since closing any
//! descriptor of it would release the lock.
#![allow(unsafe_code)]

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process,
};

use memmap2::{Mmap, MmapOptions};

use super::block::Block;

/// The ends of the names of files: of a process, before it is ready, and of its socket.
pub(super) const LIVE: &str = "figures";
pub(super) const FRESH: &str = "fresh";
pub(super) const SOCKET: &str = "socket";
/// The counts of the processes that have ended.
pub(super) const DEAD: &str = "ended";
/// Locked while the counts of a process that has ended are added.
pub(super) const LOCK: &str = "lock";

/// The longest path of a directory: the path of a socket has at most 107 bytes.
const LONGEST: usize = 107 - "/0123456789abcdef.socket".len();

/// The file of this process. Nothing of it is ever closed.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) directory: PathBuf,
    /// Keeps the locks.
    _files: (File, File),
}

impl Attached {
    /// Makes the file of a process, and returns the block in it.
    pub(super) fn new(
        directory: &Path,
        number: u64,
        started: u64,
    ) -> io::Result<(Self, &'static Block)> {
        let shared = open_directory(directory, true)?;
        let path = |end| directory.join(format!("{number:016x}.{end}"));
        let fresh = path(FRESH);
        let file = create(&fresh)?;
        let made = (|| {
            let block = map_fresh(&file)?;
            lock(&file)?;
            block.claim(number, process::id(), started);
            fs::rename(&fresh, path(LIVE))?;
            Ok(block)
        })();
        if made.is_err() {
            let _ = fs::remove_file(&fresh);
        }
        // Programs that remove old temporary files leave a locked directory alone (tmpfiles.d(5)).
        let _ = shared.try_lock_shared();
        let attached = Self {
            directory: directory.to_owned(),
            _files: (file, shared),
        };
        made.map(|block| (attached, block))
    }
}

/// Opens a directory, and checks that it is this user's own and closed to others.
pub(super) fn open_directory(path: &Path, make: bool) -> io::Result<File> {
    if path.as_os_str().len() > LONGEST {
        let text = format!("the path has more than {LONGEST} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    if make {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
        .open(path)?;
    let found = directory.metadata()?;
    let me = user();
    // The superuser may look at the figures of others, not add to them.
    let problem = if found.uid() != me && (make || me != 0) {
        format!("it belongs to the user {}, not to {me}", found.uid())
    } else if found.mode() & 0o077 != 0 {
        format!(
            "other users may enter it: its mode is {:o}, not 700",
            found.mode() & 0o777
        )
    } else {
        return Ok(directory);
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

/// The user of this process.
pub(super) fn user() -> u32 {
    // SAFETY: the call takes no argument and cannot fail.
    unsafe { libc::geteuid() }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Gives a new file the size of a block, and maps it.
fn map_fresh(file: &File) -> io::Result<&'static Block> {
    let size = Block::SIZE as libc::off_t;
    // SAFETY: the descriptor is open. The disk's blocks are reserved now: on a full disk, writing to a
    // mapping would kill the process.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mapping = MmapOptions::new().len(Block::SIZE).map_raw(file)?;
    let block = Block::at(mapping.as_mut_ptr());
    std::mem::forget(mapping);
    Ok(block)
}

/// A block for other processes, in a new file: its content is complete before the file gets its name.
pub(super) fn write(path: &Path, fill: impl FnOnce(&Block)) -> io::Result<()> {
    let fresh = path.with_extension(FRESH);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = create(&fresh)?;
    let size = Block::SIZE as libc::off_t;
    // SAFETY: as in `map_fresh`.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
        0 => {}
        error => return Err(io::Error::from_raw_os_error(error)),
    }
    let mapping = MmapOptions::new().len(Block::SIZE).map_raw(&file)?;
    let block = Block::at(mapping.as_mut_ptr());
    fill(block);
    drop(mapping);
    fs::rename(fresh, path)
}

/// A file of another process, mapped for reading.
pub(super) struct Foreign {
    mapping: Mmap,
    pub(super) lives: bool,
}

impl Foreign {
    /// Opens a file; `None` if it is no file of figures.
    pub(super) fn open(path: &Path, owner: u32) -> Option<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .ok()?;
        let found = file.metadata().ok()?;
        if !found.is_file() || found.uid() != owner || found.len() != Block::SIZE as u64 {
            return None;
        }
        let lives = is_locked(&file);
        // SAFETY: the file is mapped as it is, and read as atomic numbers only, for which any bytes are
        // valid. Only this user could shorten it; the processes of this package never do.
        let mapping = unsafe { MmapOptions::new().len(Block::SIZE).map(&file) }.ok()?;
        let foreign = Self { mapping, lives };
        foreign.block().filter(|block| block.is_claimed())?;
        Some(foreign)
    }

    pub(super) fn block(&self) -> Option<&Block> {
        Block::of(&self.mapping)
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: the structure has numbers only, for which zeroes are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

fn lock(file: &File) -> io::Result<()> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the call only reads the structure.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether another process has locked the file. If the kernel does not say, the process counts as living.
fn is_locked(file: &File) -> bool {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the call fills in the structure.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    asked != 0 || lock.l_type != libc::F_UNLCK as libc::c_short
}
