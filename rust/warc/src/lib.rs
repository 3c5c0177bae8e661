//! WARC and ARC files, whole or damaged, as rows.
mod coding;
mod digest;
mod extent;
mod gzip;
mod heads;
mod http;
mod inflate;
mod input;
mod notes;
mod record;
mod rows;
mod stream;
mod zstd;
pub use heads::Format;
pub use input::Source;
pub use notes::Note;
pub use record::{Fault, Reader, Record};
pub use rows::{Batch, Options, Rows, Strings, Verdict, recycle};
