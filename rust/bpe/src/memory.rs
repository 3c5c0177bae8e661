//! Large tables on large pages, and memory given back before more is taken.
//!
//! A look-up in a table of many megabytes costs a walk through the page tables too, in a virtual machine a double
//! one. Linux maps memory in pages of 2 MB where it is asked to: encoding gets a tenth to a quarter faster.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, slice_from_raw_parts_mut};

const LARGE: usize = 1 << 21;

/// A table of plain entries whose memory begins on a large page if it fills one: that of a vector begins anywhere, so
/// that up to two megabytes of a table of four would lie on small pages.
pub struct Table<E> {
    entries: NonNull<[E]>,
}

// SAFETY: a table owns its entries, as a vector does.
unsafe impl<E: Send> Send for Table<E> {}
// SAFETY: as above.
unsafe impl<E: Sync> Sync for Table<E> {}

impl<E: Copy + Default> Table<E> {
    /// A table of `length` default entries, at least one.
    pub fn new(length: usize) -> Self {
        let layout = Self::layout(length);
        assert!(layout.size() > 0, "a table has entries, and they a size");
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        advise(start as usize, layout.size());
        let start = start.cast::<E>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        for place in 0..length {
            // SAFETY: the memory is aligned for `E` and holds `length` of them.
            unsafe { start.add(place).write(E::default()) };
        }
        // SAFETY: it is not null.
        let entries = unsafe { NonNull::new_unchecked(slice_from_raw_parts_mut(start, length)) };
        Self { entries }
    }
}

impl<E> Table<E> {
    fn layout(length: usize) -> Layout {
        let entries = Layout::array::<E>(length).and_then(|entries| {
            let align = if entries.size() < LARGE { 1 } else { LARGE };
            entries.align_to(align)
        });
        entries.expect("a table that fits the memory")
    }
}

impl<E> Drop for Table<E> {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout; entries are `Copy` and so have no destructor.
        unsafe {
            dealloc(
                self.entries.as_ptr().cast(),
                Self::layout(self.entries.len()),
            )
        };
    }
}

impl<E> Deref for Table<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        // SAFETY: all entries were written when the table was made, and it owns them.
        unsafe { self.entries.as_ref() }
    }
}

impl<E> DerefMut for Table<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        // SAFETY: as above.
        unsafe { self.entries.as_mut() }
    }
}

/// A table whose places are the upper bits of hashes.
pub struct Growing<E> {
    pub entries: Table<E>,
    pub bits: u32,
    most: u32,
    put: usize,
}

impl<E: Copy + Default> Growing<E> {
    pub fn new((bits, most): (u32, u32)) -> Self {
        Self {
            entries: Table::new(1 << bits),
            bits,
            most,
            put: 0,
        }
    }

    #[inline(always)]
    pub fn place(&self, hash: u64) -> usize {
        (hash >> (64 - self.bits)) as usize
    }

    /// Puts an entry in its place. One that is there already moves to the neighboring place if that is free, else goes.
    pub fn put(&mut self, hash: u64, entry: E, is_free: impl Fn(&E) -> bool) {
        let place = self.place(hash);
        let old = std::mem::replace(&mut self.entries[place], entry);
        if !is_free(&old) && is_free(&self.entries[place ^ 1]) {
            self.entries[place ^ 1] = old;
        }
    }

    /// Counts what is put, and gives the entries of the smaller table when it is time for a larger one: when more than
    /// `enough` were put.
    pub fn grow(&mut self, enough: usize) -> Option<Table<E>> {
        self.put += 1;
        if self.put <= enough || self.bits == self.most {
            return None;
        }
        self.bits += 1;
        let larger = Table::new(1 << self.bits);
        Some(std::mem::replace(&mut self.entries, larger))
    }
}

/// A vector of `length` default entries.
pub fn table<E: Clone + Default>(length: usize) -> Vec<E> {
    let mut table = room(length);
    table.resize(length, E::default());
    table
}

/// An empty vector with room for `length` entries.
pub fn room<E>(length: usize) -> Vec<E> {
    let room = Vec::with_capacity(length);
    on_large_pages(&room);
    room
}

/// Asks for large pages for the memory that a vector has reserved and not yet used.
pub fn on_large_pages<E>(reserved: &Vec<E>) {
    advise(
        reserved.as_ptr() as usize,
        reserved.capacity() * size_of::<E>(),
    );
}

/// Asks for large pages for memory of this process that begins at an address.
fn advise(start: usize, size: usize) {
    #[cfg(target_os = "linux")]
    {
        let (first, last) = (start.next_multiple_of(LARGE), (start + size) & !(LARGE - 1));
        if last >= first + LARGE {
            // SAFETY: the advice changes no byte of the memory, and that it may be refused is no error.
            unsafe {
                libc::madvise(
                    first as *mut libc::c_void,
                    last - first,
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, size);
}

/// Gives memory that was freed and kept back to the system. Counting and training need their memory one after the
/// other, in blocks of other sizes, so that without this the one's would stand beside the other's.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
