//! Records as rows: the columns of pages (RAW) or of extracted texts (WET), each row with its verdict.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::coding::{Body, Decoder, MAX_DECODED};
use crate::digest;
use crate::heads::{Fields, Format, arc_line, timestamp};
use crate::http;
use crate::input::Source;
use crate::notes::Note;
use crate::record::{Fault, MAX_BODY, Reader, Record};

/// Bytes of the bodies of a batch; a single row may have more.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS: usize = 4096;
/// Room that a batch has from the start; what is not written takes no memory.
const ROOM: usize = BATCH_BYTES + BATCH_BYTES / 4;
/// Bytes that a row without a body counts as.
const EMPTY: usize = 1024;

/// Memory of contents that is kept for later batches of this process. New pages take a third of the time that
/// decompression takes.
static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
const MOST_SPARE: usize = 2;

/// Takes the memory of a batch's contents back.
pub fn recycle(mut contents: Vec<u8>) {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < MOST_SPARE && (ROOM..=2 * ROOM).contains(&contents.capacity()) {
        contents.clear();
        spare.push(contents);
    }
}

fn with_room() -> Vec<u8> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    spare.pop().unwrap_or_else(|| Vec::with_capacity(ROOM))
}

/// What of a file is read, and how its rows are named.
pub struct Options {
    /// The file's name, relative to its input's root; part of every row's id.
    pub file: String,
    /// Bytes [start, end) of the file: what begins there is read.
    pub start: u64,
    /// None for the rest of the file.
    pub end: Option<u64>,
    /// Rows are the texts of conversion records instead of the bodies of responses.
    pub wet: bool,
    /// Digests in the headers are compared with what they are of.
    pub verify: bool,
}

/// A column of text or bytes, in Arrow's layout; a row that is not valid is null.
#[derive(Debug)]
pub struct Strings {
    /// One more than rows.
    pub offsets: Vec<i64>,
    /// Row i is `values[offsets[i]..offsets[i + 1]]`.
    pub values: Vec<u8>,
    /// One a row.
    pub valid: Vec<bool>,
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            values: Vec::new(),
            valid: Vec::new(),
        }
    }
}

impl Strings {
    fn end(&mut self, valid: bool) {
        self.offsets.push(self.values.len() as i64);
        self.valid.push(valid);
    }

    /// A value with invalid UTF-8 replaced; an empty one is null.
    fn push(&mut self, value: &[u8]) {
        self.values
            .extend_from_slice(String::from_utf8_lossy(value).as_bytes());
        self.end(!value.is_empty());
    }

    /// Takes the rows from `row` on.
    fn split_off(&mut self, row: usize) -> Self {
        let at = self.offsets[row];
        let values = self.values.split_off(at as usize);
        let mut offsets = self.offsets.split_off(row);
        self.offsets.push(at);
        offsets.iter_mut().for_each(|offset| *offset -= at);
        Self {
            offsets,
            values,
            valid: self.valid.split_off(row),
        }
    }
}

/// Why a row is of no use, or, with `mark`, what is to be known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The rule, named read.something.
    pub rule: &'static str,
    /// What the rule measured.
    pub value: Option<f64>,
    /// What it was compared with.
    pub limit: Option<f64>,
    /// What is no number.
    pub detail: Option<String>,
    /// The row stays.
    pub mark: bool,
}

fn dropped(
    rule: &'static str,
    value: usize,
    limit: Option<f64>,
    detail: impl Into<String>,
) -> Verdict {
    let detail = detail.into();
    Verdict {
        rule,
        value: Some(value as f64),
        limit,
        detail: (!detail.is_empty()).then_some(detail),
        mark: false,
    }
}

fn marked(
    rule: &'static str,
    value: usize,
    limit: Option<f64>,
    detail: impl Into<String>,
) -> Verdict {
    Verdict {
        mark: true,
        ..dropped(rule, value, limit, detail)
    }
}

/// Rows, a column each.
#[derive(Debug, Default)]
pub struct Batch {
    /// The rows' doc_id.
    pub ids: Vec<[u8; 16]>,
    /// Bytes of the file at which their records or members begin.
    pub offsets: Vec<i64>,
    /// Addresses; null where there is none.
    pub urls: Strings,
    /// Microseconds since 1970.
    pub times: Vec<Option<i64>>,
    /// Media types, in lower case and without parameters.
    pub types: Strings,
    /// Charsets as declared, in lower case.
    pub charsets: Strings,
    /// Bodies, null for a row of no use; of WET texts, which are UTF-8 and never null.
    pub contents: Strings,
    /// One a row; none where nothing is to be said.
    pub verdicts: Vec<Option<Verdict>>,
    /// Bytes that count to `BATCH_BYTES`.
    size: usize,
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Takes the last row.
    fn split_last(&mut self) -> Self {
        let row = self.rows() - 1;
        Self {
            ids: self.ids.split_off(row),
            offsets: self.offsets.split_off(row),
            urls: self.urls.split_off(row),
            times: self.times.split_off(row),
            types: self.types.split_off(row),
            charsets: self.charsets.split_off(row),
            contents: self.contents.split_off(row),
            verdicts: self.verdicts.split_off(row),
            size: 0,
        }
    }
}

/// Reads the rows of a file or of a part of it.
pub struct Rows {
    reader: Reader,
    options: Options,
    decoder: Decoder,
    batch: Batch,
    others: BTreeMap<&'static str, u64>,
    unreadable_dates: u64,
}

impl Rows {
    /// Opens a file; its beginning is read.
    pub fn new(source: Box<dyn Source>, options: Options) -> io::Result<Self> {
        Ok(Self {
            reader: Reader::new(source, options.start, options.end)?,
            options,
            decoder: Decoder::new(),
            batch: Batch::default(),
            others: BTreeMap::new(),
            unreadable_dates: 0,
        })
    }

    /// What was wrong since the last call.
    pub fn notes(&mut self) -> Vec<Note> {
        self.reader.notes()
    }

    /// What was wrong beyond the places that were told one by one: what, places, bytes that gave nothing.
    pub fn more_notes(&mut self) -> Vec<(&'static str, u64, u64)> {
        self.reader.more_notes()
    }

    /// Records that are no rows since the last call, by their type.
    pub fn others(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.others)
    }

    /// Rows since the last call whose date could not be read.
    pub fn unreadable_dates(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable_dates)
    }

    /// The next rows, none at the end.
    pub fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        loop {
            if self.batch.size >= BATCH_BYTES {
                return Ok(Some(std::mem::take(&mut self.batch)));
            }
            let Some(record) = self.reader.next()? else {
                let batch = std::mem::take(&mut self.batch);
                return Ok((batch.rows() > 0).then_some(batch));
            };
            let values = &mut self.batch.contents.values;
            if values.capacity() < ROOM {
                let mut room = with_room();
                room.extend_from_slice(values);
                *values = room;
            }
            let maker = Maker {
                options: &self.options,
                decoder: &mut self.decoder,
                batch: &mut self.batch,
            };
            match maker.row(&record) {
                Err(other) => *self.others.entry(other).or_default() += 1,
                Ok(Added { size, dated }) => {
                    self.unreadable_dates += u64::from(!dated);
                    let full =
                        self.batch.size + size > BATCH_BYTES || self.batch.rows() > BATCH_ROWS;
                    if full && self.batch.rows() > 1 {
                        let last = self.batch.split_last();
                        let full = std::mem::replace(&mut self.batch, last);
                        self.batch.size = size;
                        return Ok(Some(full));
                    }
                    self.batch.size += size;
                }
            }
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        recycle(std::mem::take(&mut self.batch.contents.values));
    }
}

/// What a record added: bytes of the row, and whether its date, if it has one, could be read.
struct Added {
    size: usize,
    dated: bool,
}

struct Maker<'a> {
    options: &'a Options,
    decoder: &'a mut Decoder,
    batch: &'a mut Batch,
}

impl Maker<'_> {
    /// Adds the row of a record; the type of a record that is none.
    fn row(self, record: &Record<'_>) -> Result<Added, &'static str> {
        let fields = fields_of(record);
        let kind = kind_of(record, &fields);
        let wanted = if self.options.wet {
            kind == "conversion"
        } else {
            matches!(kind, "response" | "resource")
        };
        if !wanted {
            return Err(kind);
        }
        let Self {
            options,
            decoder,
            batch,
        } = self;
        let before = batch.contents.values.len();
        let mut media = Media::default();
        let mut verdict = fault_of(record);
        if verdict.as_ref().is_none_or(|verdict| verdict.mark) {
            let content = &mut batch.contents.values;
            let found = if options.wet {
                text(record.body, content)
            } else {
                page(record, &fields, decoder, content, &mut media)
            };
            let found = found.or_else(|| cut_by_crawler(&fields, content.len() - before));
            let found = found.or_else(|| {
                let wrong = options.verify && !verified(record, &fields);
                wrong.then(|| {
                    marked(
                        "read.digest",
                        record.body.len(),
                        None,
                        "the digest in the header is of other bytes",
                    )
                })
            });
            if found.as_ref().is_some_and(|found| !found.mark) || verdict.is_none() {
                verdict = found;
            }
        }
        let kept = verdict.as_ref().is_none_or(|verdict| verdict.mark);
        if !kept {
            batch.contents.values.truncate(before);
        }
        let size = if kept {
            batch.contents.values.len() - before
        } else {
            EMPTY
        };
        let size = size + fields.uri.len() + media.name.len() + media.charset.len();
        batch.contents.end(kept || options.wet);
        batch.ids.push(doc_id(
            &options.file,
            record.offset,
            fields.id,
            record.ordinal,
        ));
        batch.offsets.push(record.offset as i64);
        batch.urls.push(unbracketed(fields.uri));
        let time = timestamp(fields.date);
        batch.times.push(time);
        batch.types.push(&media.name);
        batch.charsets.push(&media.charset);
        batch.verdicts.push(verdict);
        Ok(Added {
            size,
            dated: time.is_some() || fields.date.is_empty(),
        })
    }
}

#[derive(Default)]
struct Media {
    name: Vec<u8>,
    charset: Vec<u8>,
}

/// The fields of a record's header; of an ARC record, those that it has.
fn fields_of<'a>(record: &Record<'a>) -> Fields<'a> {
    match record.format {
        Format::Warc => Fields::of(record.header),
        Format::Arc => {
            let line = arc_line(record.header, false);
            line.map_or_else(Fields::default, |line| Fields {
                uri: line.url,
                date: line.date,
                media: line.media,
                ..Fields::default()
            })
        }
    }
}

/// A record's type, in lower case: one of the standard's, or `filedesc` (the first record of an ARC file), `unknown`.
fn kind_of(record: &Record<'_>, fields: &Fields<'_>) -> &'static str {
    const KINDS: [&str; 8] = [
        "response",
        "resource",
        "request",
        "metadata",
        "revisit",
        "conversion",
        "warcinfo",
        "continuation",
    ];
    match record.format {
        Format::Arc if record.header.starts_with(b"filedesc:") => "filedesc",
        Format::Arc => "response",
        Format::Warc => {
            let found = KINDS
                .iter()
                .find(|kind| fields.kind.eq_ignore_ascii_case(kind.as_bytes()));
            found.copied().unwrap_or("unknown")
        }
    }
}

/// The verdict on a record whose body is not what its header says.
fn fault_of(record: &Record<'_>) -> Option<Verdict> {
    let declared = record.declared.map(|length| length as f64);
    let size = record.body.len();
    Some(match record.fault? {
        Fault::TooLarge => Verdict {
            value: declared,
            ..dropped("read.too_large", MAX_BODY, Some(MAX_BODY as f64), "")
        },
        Fault::Cut(why) => dropped("read.truncated", size, declared, why),
        Fault::Checksum => dropped(
            "read.damaged",
            size,
            declared,
            "the checksum of its gzip member is wrong",
        ),
        Fault::Length(why) => marked("read.bad_length", size, declared, why),
    })
}

fn cut_by_crawler(fields: &Fields<'_>, size: usize) -> Option<Verdict> {
    let why = if !fields.truncated.is_empty() {
        format!(
            "the crawler cut it: {}",
            String::from_utf8_lossy(&fields.truncated[..fields.truncated.len().min(100)])
        )
    } else if !fields.segment.is_empty() {
        "the first segment of a record that goes on elsewhere".to_owned()
    } else {
        return None;
    };
    Some(marked("read.truncated", size, None, why))
}

/// Whether the digest that a record has is that of its payload, with or without chunks, or of its block.
fn verified(record: &Record<'_>, fields: &Fields<'_>) -> bool {
    let declared = fields.payload_digest;
    if !declared.is_empty() {
        let payload = http::message(record.body).map_or(record.body, |message| message.body);
        if digest::agrees(declared, payload) != Some(false) {
            return true;
        }
        let mut joined = Vec::new();
        let chunks = crate::coding::unchunk(payload, true, &mut joined);
        return chunks.is_some() && digest::agrees(declared, &joined) != Some(false);
    }
    digest::agrees(fields.block_digest, record.body) != Some(false)
}

/// Appends a WET record's text.
fn text(body: &[u8], content: &mut Vec<u8>) -> Option<Verdict> {
    if simdutf8::basic::from_utf8(body).is_ok() {
        content.extend_from_slice(body);
        return None;
    }
    content.extend_from_slice(String::from_utf8_lossy(body).as_bytes());
    Some(Verdict {
        value: None,
        ..marked("read.invalid_utf8", 0, None, "invalid bytes became U+FFFD")
    })
}

/// Appends the body of an HTTP response, or of a record that is none its block, decoded.
fn page(
    record: &Record<'_>,
    fields: &Fields<'_>,
    decoder: &mut Decoder,
    content: &mut Vec<u8>,
    media: &mut Media,
) -> Option<Verdict> {
    let is_http =
        fields.media.len() >= 16 && fields.media[..16].eq_ignore_ascii_case(b"application/http");
    let looks = record.body.len() >= 5 && record.body[..5].eq_ignore_ascii_case(b"HTTP/");
    if !is_http && !looks {
        media.name = http::media_type(fields.media);
        media.charset = http::charset(fields.media);
        identify(media, fields);
        content.extend_from_slice(record.body);
        return None;
    }
    let Some(message) = http::message(record.body) else {
        let line = record.body.split(|b| *b == b'\n').next().unwrap_or(b"");
        let line = String::from_utf8_lossy(&line[..line.len().min(80)])
            .trim()
            .to_owned();
        return Some(dropped(
            "read.bad_http",
            0,
            None,
            format!("no HTTP response begins with {line:?}"),
        ));
    };
    media.name = http::media_type(&message.content_type);
    media.charset = http::charset(&message.content_type);
    identify(media, fields);
    if let Some(status) = message.status.filter(|status| *status != 200) {
        return Some(dropped(
            "read.http_status",
            usize::from(status),
            Some(200.0),
            "",
        ));
    }
    let chunked =
        memchr::memmem::find(&message.transfer_encoding.to_ascii_lowercase(), b"chunked").is_some();
    let look = http::is_textual(&media.name);
    let begin = content.len();
    match decoder.decode(
        message.body,
        chunked,
        &message.content_encoding,
        look,
        content,
    ) {
        Body::Whole => None,
        Body::Short(name) => {
            let what = format!("the {name} body ends early");
            Some(marked("read.truncated", content.len() - begin, None, what))
        }
        Body::Bad(name) => Some(dropped(
            "read.bad_encoding",
            message.body.len(),
            None,
            format!("damaged {name} body"),
        )),
        Body::TooLarge => {
            let limit = Some(MAX_DECODED as f64);
            Some(dropped(
                "read.too_large",
                message.body.len(),
                limit,
                "decoded body over the limit",
            ))
        }
    }
}

/// An address without the angle brackets that some writers put around it.
fn unbracketed(uri: &[u8]) -> &[u8] {
    let uri = uri.strip_prefix(b"<").unwrap_or(uri);
    uri.strip_suffix(b">").unwrap_or(uri).trim_ascii()
}

/// What the crawler found the body to be stands for a media type that is absent or says nothing.
fn identify(media: &mut Media, fields: &Fields<'_>) {
    if http::is_general(&media.name) && !fields.identified.is_empty() {
        media.name = http::media_type(fields.identified);
    }
}

/// The first 16 bytes of SHA-256 of a record's place: file, offset, its own id, and its number in a member that holds
/// several.
fn doc_id(file: &str, offset: u64, id: &[u8], ordinal: u64) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(file);
    hash.update(format!("\0{offset}\0"));
    hash.update(String::from_utf8_lossy(id).as_bytes());
    if ordinal > 0 {
        hash.update(format!("#{ordinal}"));
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    first
}
