//! Large tables on large pages, and memory given back before more is taken.
//!
//! A look-up in a table of many megabytes costs a walk through the page tables too, in a virtual machine a double
//! one. Linux maps memory in pages of 2 MB where it is asked to: encoding gets a tenth to a quarter faster.

/// A table of `length` default entries.
pub fn table<E: Clone + Default>(length: usize) -> Vec<E> {
    let mut table = Vec::with_capacity(length);
    on_large_pages(&table);
    table.resize(length, E::default());
    table
}

/// Asks for large pages for the memory that a vector has reserved and not yet used.
pub fn on_large_pages<E>(reserved: &Vec<E>) {
    #[cfg(target_os = "linux")]
    {
        const LARGE: usize = 1 << 21;
        let start = reserved.as_ptr() as usize;
        let end = start + reserved.capacity() * size_of::<E>();
        let (first, last) = (start.next_multiple_of(LARGE), end & !(LARGE - 1));
        if last >= first + LARGE {
            // SAFETY: the range lies inside memory that the vector owns, and the advice changes no byte of it. That
            // it may be refused is no error.
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
    let _ = reserved;
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
