//! Records and files made on the spot.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{Cursor, Write};

use curate_warc::{Batch, Options, Reader, Rows};
use flate2::Compression;
use flate2::write::GzEncoder;

/// A response record; `n` tells it from others.
pub fn record(n: usize, body: &[u8], line: &str) -> Vec<u8> {
    let block = [
        format!("HTTP/1.1 200 OK{line}Content-Type: text/html{line}{line}").as_bytes(),
        body,
    ]
    .concat();
    warc(
        "response",
        "application/http; msgtype=response",
        n,
        &block,
        line,
    )
}

/// A record of any kind with a whole block.
pub fn warc(kind: &str, media: &str, n: usize, block: &[u8], line: &str) -> Vec<u8> {
    let head = [
        "WARC/1.0".to_owned(),
        format!("WARC-Type: {kind}"),
        format!("WARC-Record-ID: <urn:test:{n}>"),
        format!("WARC-Target-URI: https://example.test/{n}"),
        "WARC-Date: 2026-01-02T03:04:05Z".to_owned(),
        format!("Content-Type: {media}"),
        format!("Content-Length: {}", block.len()),
        String::new(),
        String::new(),
    ];
    [
        head.join(line).as_bytes(),
        block,
        line.as_bytes(),
        line.as_bytes(),
    ]
    .concat()
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    gzip_at(content, 6)
}

/// Level 0 stores the content as it is.
pub fn gzip_at(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// (address, body, rule of the verdict) of every row, and what was told of damage.
pub struct Read {
    pub rows: Vec<(String, Vec<u8>, Option<&'static str>)>,
    pub ids: Vec<[u8; 16]>,
    pub notes: Vec<(u64, &'static str, u64)>,
    pub others: u64,
}

pub fn read(file: &[u8], start: u64, end: Option<u64>) -> Read {
    let options = Options {
        file: "file".to_owned(),
        start,
        end,
        wet: false,
        verify: false,
    };
    let mut reader = Rows::new(Box::new(Cursor::new(file.to_vec())), options).unwrap();
    let (mut rows, mut ids) = (Vec::new(), Vec::new());
    while let Some(batch) = reader.next_batch().unwrap() {
        ids.extend_from_slice(&batch.ids);
        rows.extend((0..batch.rows()).map(|row| row_of(&batch, row)));
    }
    let mut notes: Vec<_> = reader
        .notes()
        .into_iter()
        .map(|n| (n.offset, n.what, n.skipped))
        .collect();
    notes.extend(
        reader
            .more_notes()
            .into_iter()
            .map(|(what, _, skipped)| (0, what, skipped)),
    );
    Read {
        rows,
        ids,
        notes,
        others: reader.others().values().sum(),
    }
}

fn row_of(batch: &Batch, row: usize) -> (String, Vec<u8>, Option<&'static str>) {
    let value = |column: &curate_warc::Strings| {
        column.values[column.offsets[row] as usize..column.offsets[row + 1] as usize].to_vec()
    };
    let url = String::from_utf8(value(&batch.urls)).unwrap();
    let rule = batch.verdicts[row].as_ref().map(|verdict| verdict.rule);
    (url, value(&batch.contents), rule)
}

/// The bodies of the rows that have no verdict.
pub fn good(file: &[u8]) -> Vec<Vec<u8>> {
    let rows = read(file, 0, None).rows;
    rows.into_iter()
        .filter(|row| row.2.is_none())
        .map(|row| row.1)
        .collect()
}

/// Number of records, and whether something was told.
pub fn count(file: &[u8]) -> (usize, bool) {
    let mut reader = Reader::new(Box::new(Cursor::new(file.to_vec())), 0, None).unwrap();
    let mut n = 0;
    while reader.next().unwrap().is_some() {
        n += 1;
    }
    (n, !reader.notes().is_empty())
}
