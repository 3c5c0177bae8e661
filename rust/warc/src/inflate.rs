//! Gzip and deflate, whole members at once or as a stream.

use std::ffi::c_void;
use std::ptr::NonNull;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_free_decompressor,
    libdeflate_gzip_decompress_ex, libdeflate_result, libdeflate_result_LIBDEFLATE_SUCCESS,
};

/// A gzip member begins so: its two bytes, and deflate, the only method there is.
pub const GZIP: &[u8] = b"\x1f\x8b\x08";
const LEAST: usize = 18; // bytes of a member: header 10, trailer 8
const LONGEST_NAME: usize = 64 << 10; // bytes of a file name or a comment in a header

/// Length of the gzip header that `data` begins with; none where it is no header, or is cut.
pub fn gzip_header(data: &[u8]) -> Option<usize> {
    if data.len() < LEAST || !data.starts_with(GZIP) || data[3] & 0xe0 != 0 {
        return None;
    }
    let flags = data[3];
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let rest = data.get(at..)?;
            at += memchr::memchr(0, &rest[..rest.len().min(LONGEST_NAME)])? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at < data.len()).then_some(at)
}

/// libdeflate's decompressor: fast, but it takes a member only as a whole.
pub struct Libdeflate(NonNull<libdeflate_decompressor>);

// SAFETY: the memory behind the pointer is this value's own and is not bound to a thread.
unsafe impl Send for Libdeflate {}

impl Libdeflate {
    pub fn new() -> Self {
        // SAFETY: no condition; null is what it gives when memory is short.
        let made = unsafe { libdeflate_alloc_decompressor() };
        Self(NonNull::new(made).expect("32 KiB for a decompressor"))
    }

    /// Appends the content of the gzip member that `data` begins with, checksum verified: the bytes of `data` that it
    /// took. None where the member is damaged, cut, or holds more than `room` bytes; `out` is then as before.
    pub fn gzip(&mut self, data: &[u8], out: &mut Vec<u8>, room: usize) -> Option<usize> {
        out.reserve(room);
        let spare = &mut out.spare_capacity_mut()[..room];
        let (mut used, mut made) = (0, 0);
        // SAFETY: both pointers hold for the lengths given with them, the decompressor is not shared (`&mut`), and the
        // two results are written before it returns success.
        let result: libdeflate_result = unsafe {
            libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                data.as_ptr().cast::<c_void>(),
                data.len(),
                spare.as_mut_ptr().cast::<c_void>(),
                room,
                &raw mut used,
                &raw mut made,
            )
        };
        if result != libdeflate_result_LIBDEFLATE_SUCCESS {
            return None;
        }
        // SAFETY: libdeflate wrote `made` <= `room` bytes from the old length on.
        unsafe { out.set_len(out.len() + made) };
        Some(used)
    }
}

impl Drop for Libdeflate {
    fn drop(&mut self) {
        // SAFETY: the pointer came from this library's allocator and is freed once.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}

/// Where a deflate stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its own end, after so many bytes of input.
    Whole(usize),
    /// The input ends before.
    Short,
    /// It is damaged.
    Bad,
    /// More comes out than there is room for.
    Full,
}

/// Appends what `data` holds, zlib (`header`) or raw deflate, to at most `cap` bytes in `out`.
pub fn inflate(data: &[u8], header: bool, out: &mut Vec<u8>, cap: usize) -> End {
    let mut stream = Decompress::new(header);
    loop {
        let used = stream.total_in() as usize;
        let (before, room) = (out.len(), cap.saturating_sub(out.len()));
        if room == 0 {
            return End::Full;
        }
        out.reserve((64 << 10).min(room));
        let done = stream.decompress_vec(&data[used..], out, FlushDecompress::None);
        if out.len() > cap {
            return End::Full;
        }
        match done {
            Ok(Status::StreamEnd) => return End::Whole(stream.total_in() as usize),
            Ok(_) if out.len() > before || stream.total_in() as usize > used => {}
            Ok(_) => return End::Short,
            Err(_) => return End::Bad,
        }
    }
}
