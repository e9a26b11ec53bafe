//! An allocator whose cost does not depend on what was allocated and freed before.
//!
//! Malloc splits and merges blocks, and how it does so depends on which thread has freed which block first:
//! counts would differ by some percent from run to run, and from one version of the C library to the next. Here
//! an allocation takes the latest freed block of its size, or a piece of a fresh chunk. Each thread has its own
//! blocks, so nothing is locked. An allocation is cheaper than malloc's, but never free: one more of them for
//! each message still shows.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ptr::null_mut,
};

/// Sizes are rounded up to powers of two, from 16 bytes up to [`LARGEST`].
const CLASSES: usize = 17;

/// Larger blocks come from the system.
const LARGEST: usize = 16 << (CLASSES - 1);

/// A thread's blocks are cut from chunks of this size.
const CHUNK: usize = 4 * LARGEST;

thread_local! {
    /// For each size, the latest freed block of this thread. A freed block begins with a pointer to the one
    /// that was freed before it.
    static FREE: [Cell<*mut u8>; CLASSES] = const { [const { Cell::new(null_mut()) }; CLASSES] };
    /// The unused rest of this thread's chunk: its address, and its length.
    static CHUNK_LEFT: Cell<(*mut u8, usize)> = const { Cell::new((null_mut(), 0)) };
}

struct Steady;

#[global_allocator]
static ALLOCATOR: Steady = Steady;

/// The number of a layout's size; `None`: the system's allocator serves it.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(16);
    (size <= LARGEST).then(|| (size.next_power_of_two() / 16).trailing_zeros() as usize)
}

/// Cuts a block off this thread's chunk.
fn fresh(class: usize) -> *mut u8 {
    let size = 16 << class;
    let (mut start, mut left) = CHUNK_LEFT.get();
    // Every block is aligned to its own size.
    let mut skipped = start.align_offset(size);
    if left < size + skipped {
        // SAFETY: the layout is valid, and its size is not zero.
        start = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, LARGEST)) };
        if start.is_null() {
            return start;
        }
        (left, skipped) = (CHUNK, 0);
    }
    let used = skipped + size;
    CHUNK_LEFT.set((start.wrapping_add(used), left - used));
    start.wrapping_add(skipped)
}

// SAFETY: a block is as large as its class, aligned to its size, and belongs to one caller from `alloc` to
// `dealloc`. Chunks are never given back. The thread-locals need no destructor, so they outlive all calls.
unsafe impl GlobalAlloc for Steady {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller keeps the contract of `alloc`.
            return unsafe { System.alloc(layout) };
        };
        FREE.with(|free| {
            let block = free[class].get();
            if block.is_null() {
                return fresh(class);
            }
            // SAFETY: a freed block begins with a pointer, and is aligned for one.
            free[class].set(unsafe { block.cast::<*mut u8>().read() });
            block
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: the caller keeps the contract of `dealloc`.
            return unsafe { System.dealloc(block, layout) };
        };
        FREE.with(|free| {
            // SAFETY: the block is no longer used, is aligned for a pointer, and has room for one.
            unsafe { block.cast::<*mut u8>().write(free[class].get()) };
            free[class].set(block);
        });
    }
}
