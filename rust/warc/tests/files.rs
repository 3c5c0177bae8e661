//! Files of every form: what was written comes back, damage costs what it touches, and a cut changes nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use curate_warc::Reader;

use common::{count, good, gzip, gzip_at, read, record, warc, zstd};
use proptest::prelude::*;

/// Bodies with what looks like parts of a WARC file in them, but no head at the beginning of a line.
fn bodies() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        "[a-z <>]{0,60}".prop_map(String::into_bytes),
        Just(b"\r\n\r\n".to_vec()),
        Just(b" WARC/1.0\r\n".to_vec()),
        Just(b"\x1f\x8b\x08\x00".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..200),
    ];
    let body = proptest::collection::vec(piece, 0..12)
        .prop_map(|pieces| [b"<p>", pieces.concat().as_slice()].concat());
    proptest::collection::vec(body, 1..14)
}

fn records(bodies: &[Vec<u8>], line: &str) -> Vec<Vec<u8>> {
    bodies
        .iter()
        .enumerate()
        .map(|(n, body)| record(n, body, line))
        .collect()
}

/// A file as its members: one a record, or cut anywhere.
fn split(content: &[u8], size: usize) -> Vec<Vec<u8>> {
    content.chunks(size.max(1)).map(gzip).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_comes_back_from_every_container(bodies in bodies(), size in 20..3000_usize) {
        for line in ["\r\n", "\n"] {
            let records = records(&bodies, line);
            let plain = records.concat();
            let each: Vec<Vec<u8>> = records.iter().map(|record| gzip(record)).collect();
            let frames: Vec<Vec<u8>> = records.iter().map(|record| zstd(record)).collect();
            for (form, file) in [
                ("plain", plain.clone()), ("a member a record", each.concat()), ("one member", gzip(&plain)),
                ("cut anywhere", split(&plain, size).concat()), ("a frame a record", frames.concat()),
                ("padded", each.iter().flat_map(|m| [m.clone(), vec![0; size % 50], gzip(b"")].concat()).collect()),
                ("one frame", zstd(&plain)), ("stored", gzip_at(&plain, 0)),
            ] {
                let found = read(&file, 0, None);
                let got: Vec<&[u8]> = found.rows.iter().map(|row| row.1.as_slice()).collect();
                prop_assert_eq!(&got, &bodies, "{} {:?} {:?}", form, line, found.notes);
                prop_assert!(found.rows.iter().all(|row| row.2.is_none()) && found.notes.is_empty(), "{}", form);
            }
        }
    }

    #[test]
    fn slices_give_every_row_once_wherever_the_cuts_are(
        bodies in bodies(), size in 20..3000_usize, cuts in proptest::collection::vec(0.0..1.0_f64, 1..5),
        garbage in any::<bool>(),
    ) {
        let records = records(&bodies, "\r\n");
        let plain = records.concat();
        let between = if garbage { b"no record, no member\r\n".as_slice() } else { b"" };
        let joined = |parts: Vec<Vec<u8>>| parts.join(between);
        for (form, file) in [
            ("plain", records.join(between)), ("a member a record", joined(records.iter().map(|r| gzip(r)).collect())),
            ("cut anywhere", split(&plain, size).concat()), ("one member", gzip(&plain)),
            ("a frame a record", joined(records.iter().map(|r| zstd(r)).collect())),
        ] {
            let whole = read(&file, 0, None);
            let mut edges: Vec<u64> = cuts.iter().map(|cut| (cut * file.len() as f64) as u64).collect();
            edges.push(0);
            edges.sort_unstable();
            let (mut rows, mut ids, mut skipped) = (Vec::new(), Vec::new(), 0);
            for (i, start) in edges.iter().enumerate() {
                let part = read(&file, *start, edges.get(i + 1).copied());
                rows.extend(part.rows);
                ids.extend(part.ids);
                skipped += part.notes.iter().map(|note| note.2).sum::<u64>();
            }
            prop_assert_eq!(&rows, &whole.rows, "{} {:?} of {}", form, edges, file.len());
            prop_assert_eq!(&ids, &whole.ids, "{}", form);
            prop_assert_eq!(skipped, whole.notes.iter().map(|note| note.2).sum::<u64>(), "{} {:?}", form, edges);
        }
    }

    #[test]
    fn damage_costs_the_records_that_it_touches_and_is_told(
        bodies in bodies(), at in 0.0..1.0_f64, size in 1..40_usize, kind in 0..3, seed in any::<u64>(),
    ) {
        let records = records(&bodies, "\r\n");
        for pack in [gzip, zstd] {
            let members: Vec<Vec<u8>> = records.iter().map(|record| pack(record)).collect();
            let file = members.concat();
            let from = ((file.len() - 1) as f64 * at) as usize;
            let to = (from + size).min(file.len());
            let noise: Vec<u8> = (0..size).map(|i| (seed >> (i % 57)) as u8 | 1).collect();
            let damaged = match kind {
                0 => [&file[..from], &file[from..to].iter().zip(&noise).map(|(a, b)| a ^ b).collect::<Vec<_>>(), &file[to..]].concat(),
                1 => [&file[..from], &file[to..]].concat(),
                _ => [&file[..from], &noise, &file[from..]].concat(),
            };
            let end = if kind == 2 { from + 1 } else { to };
            let mut place = 0;
            let mut untouched = Vec::new();
            for (member, body) in members.iter().zip(&bodies) {
                if place + member.len() <= from || place >= end {
                    untouched.push(body.clone());
                }
                place += member.len();
            }
            let found = read(&damaged, 0, None);
            let mut left = found.rows.iter().map(|row| &row.1);
            for body in &untouched {
                prop_assert!(left.any(|got| got == body), "{} untouched, {:?}", untouched.len(), found.notes);
            }
            let whole = found.rows.iter().filter(|row| row.2.is_none()).count();
            prop_assert!(whole >= bodies.len() || !found.notes.is_empty());
        }
    }

    #[test]
    fn a_wrong_length_costs_no_other_record(bodies in bodies(), which in any::<prop::sample::Index>(), by in -30..3000_i64) {
        let mut records = records(&bodies, "\r\n");
        let which = which.index(records.len());
        let text = records[which].clone();
        let at = memchr::memmem::find(&text, b"Content-Length: ").unwrap() + 16;
        let end = at + memchr::memchr(b'\r', &text[at..]).unwrap();
        let length: i64 = std::str::from_utf8(&text[at..end]).unwrap().parse().unwrap();
        let wrong = (length + by).max(0).to_string();
        // A length that ends by chance where a record can end is believed.
        let head = memchr::memmem::find(&text, b"\r\n\r\n").unwrap() + 4;
        let rest = records[which..].concat();
        let place = rest.get(head + wrong.parse::<usize>().unwrap()..);
        let by_chance = matches!(place, Some([] | [b'\r' | b'\n' | b'W' | 0, ..]));
        prop_assume!(by == 0 || !by_chance);
        records[which] = [&text[..at], wrong.as_bytes(), &text[end..]].concat();
        for file in [records.concat(), records.iter().flat_map(|record| gzip(record)).collect()] {
            let found = read(&file, 0, None);
            for (n, body) in bodies.iter().enumerate().filter(|(n, _)| *n != which) {
                let url = format!("https://example.test/{n}");
                prop_assert!(found.rows.iter().any(|row| row.0 == url && row.1 == *body), "{} by {}", n, by);
            }
        }
    }
}

#[test]
fn a_warc_inside_a_record_is_its_body_wherever_a_plain_file_is_cut() {
    let inner: Vec<u8> = (0..40)
        .flat_map(|n| record(100 + n, b"inner", "\r\n"))
        .collect();
    let files: Vec<Vec<u8>> = (0..6)
        .map(|n| warc("resource", "application/warc", n, &inner, "\r\n"))
        .collect();
    let file = files.concat();
    let whole = read(&file, 0, None);
    assert_eq!(whole.rows.len(), 6);
    for cut in (1..file.len()).step_by(997) {
        let (a, b) = (
            read(&file, 0, Some(cut as u64)),
            read(&file, cut as u64, None),
        );
        assert_eq!([a.rows, b.rows].concat(), whole.rows, "cut at {cut}");
    }
}

/// A slice is entered a record's greatest length before it: past the first bytes of the file where it lies far inside.
#[test]
fn slices_far_into_a_plain_file_give_every_row_once() {
    let records = records(&vec![vec![b'x'; 1 << 20]; 72], "\r\n");
    let (file, length) = (records.concat(), records[71].len());
    let whole = read(&file, 0, None).rows;
    assert_eq!(whole.len(), 72);
    let edge = file.len() - 3 * length;
    for cut in [edge - 1, edge, edge + 1, edge + length / 2, file.len() - 1] {
        let a = read(&file, 0, Some(cut as u64)).rows;
        let b = read(&file, cut as u64, None).rows;
        assert!([a, b].concat() == whole, "cut at {cut}");
    }
}

#[test]
fn the_missing_end_of_a_file_is_told_and_its_records_before_are_read() {
    let records: Vec<Vec<u8>> = (0..5)
        .map(|n| record(n, &[b'a' + n as u8; 900], "\r\n"))
        .collect();
    let members: Vec<Vec<u8>> = records.iter().map(|record| gzip(record)).collect();
    for file in [
        records.concat(),
        members.concat(),
        gzip(&records.concat()),
        zstd(&records.concat()),
    ] {
        let cut = &file[..file.len() - file.len() / 12];
        let found = read(cut, 0, None);
        assert!(found.notes.iter().any(|note| note.1.contains("ends inside a record") || note.1.contains("cut short")));
        assert!(
            good(cut).len() >= 3 || file.starts_with(b"\x28\xb5"),
            "{} rows",
            good(cut).len()
        );
    }
}

#[test]
fn arc_records_are_read() {
    let body = "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>old</p>";
    let version = "1 0 Somebody\nURL IP-address Archive-date Content-type Archive-length\n";
    let mut file = format!(
        "filedesc://a.arc 0.0.0.0 20080430204825 text/plain {}\n{version}\n",
        version.len()
    );
    for n in 0..4 {
        file += &format!(
            "http://example.test/{n} 192.0.2.1 20080430204826 text/html {}\n{body}\n",
            body.len()
        );
    }
    let members: Vec<u8> = gzip(file.as_bytes());
    for file in [file.into_bytes(), members] {
        let found = read(&file, 0, None);
        assert_eq!(found.rows.len(), 4, "{:?}", found.notes);
        assert!(
            found
                .rows
                .iter()
                .all(|row| row.1 == b"<p>old</p>" && row.2.is_none())
        );
        assert_eq!((found.others, found.notes.len()), (1, 0));
    }
}

#[test]
fn a_dictionary_in_the_first_frame_is_used() {
    let records: Vec<Vec<u8>> = (0..60)
        .map(|n| record(n, format!("<p>page {n}</p>").as_bytes(), "\r\n"))
        .collect();
    let dictionary = records[..20].concat();
    let mut file = [
        &0x184d_2a5d_u32.to_le_bytes()[..],
        &(dictionary.len() as u32).to_le_bytes(),
        &dictionary,
    ]
    .concat();
    for record in &records {
        let mut encoder = zstd::bulk::Compressor::with_dictionary(3, &dictionary).unwrap();
        file.extend(encoder.compress(record).unwrap());
    }
    assert_eq!(good(&file).len(), 60);
    let half = read(&file, file.len() as u64 / 2, None).rows.len();
    assert!(half > 10 && half + read(&file, 0, Some(file.len() as u64 / 2)).rows.len() == 60);
}

#[test]
fn a_large_record_is_passed_over_in_little_memory() {
    let large = vec![b'x'; 70 << 20];
    for file in [
        [
            record(0, b"before", "\r\n"),
            record(1, &large, "\r\n"),
            record(2, b"after", "\r\n"),
        ]
        .concat(),
        gzip_at(
            &[
                record(0, b"before", "\r\n"),
                record(1, &large, "\r\n"),
                record(2, b"after", "\r\n"),
            ]
            .concat(),
            1,
        ),
    ] {
        let found = read(&file, 0, None);
        let rules: Vec<Option<&str>> = found.rows.iter().map(|row| row.2).collect();
        assert_eq!(rules, [None, Some("read.too_large"), None]);
        assert!(found.notes.is_empty());
    }
    // One that says so but is not: what it would have hidden is read.
    let lie = "WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 99999999\r\n\r\n"
        .as_bytes()
        .to_vec();
    let rest: Vec<u8> = (0..200)
        .flat_map(|n| record(n, &[b'y'; 600_000], "\r\n"))
        .collect();
    for file in [
        [lie.clone(), rest.clone()].concat(),
        gzip_at(&[lie, rest].concat(), 1),
    ] {
        assert_eq!(good(&file).len(), 200);
    }
}

/// A source that counts the bytes that are read.
struct Counting(Cursor<Vec<u8>>, Arc<AtomicU64>);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Seek for Counting {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_slice_in_which_nothing_begins_is_left_at_its_end() {
    let noise: Vec<u8> = (0..40_000_000_u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8)
        .collect();
    let record = record(0, &noise, "\r\n");
    for file in [
        gzip_at(&record, 0),
        zstd(&record),
        record.clone(),
        noise.clone(),
    ] {
        let read = Arc::new(AtomicU64::new(0));
        let source = Counting(Cursor::new(file), read.clone());
        let mut reader = Reader::new(Box::new(source), 20_000_000, Some(20_100_000)).unwrap();
        assert!(reader.next().unwrap().is_none());
        // An uncompressed file is read from a record's greatest length before the slice, at least its headers.
        assert!(read.load(Ordering::Relaxed) < 26_000_000);
    }
}

/// Inputs made to take long take time that grows with their bytes.
#[test]
fn hostile_files_take_linear_time() {
    let head = b"WARC/1.0\r\nContent-Length: 999999999999\r\n\r\n";
    let one = warc("metadata", "text/plain", 0, b"abc", "\r\n");
    let member = gzip(&one);
    let noise: Vec<u8> = (0..4_000_000_u64)
        .map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8)
        .collect();
    let mut fields = b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03".repeat(100_000);
    fields.extend_from_slice(&noise);
    for (what, file, least) in [
        ("empty members", gzip(b"").repeat(100_000), 0),
        ("versions", b"WARC/1.0\r\n".repeat(200_000), 1),
        ("heads with a length too long", head.repeat(50_000), 50_000),
        ("the same in a member", gzip(&head.repeat(50_000)), 50_000),
        (
            "heads without a length",
            b"WARC/1.0\r\nA: b\r\n\r\n".repeat(100_000),
            100_000,
        ),
        (
            "magics",
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".repeat(400_000),
            0,
        ),
        ("magics that skip a name", fields, 0),
        (
            "a header without end",
            [b"WARC/1.0\r\n".as_slice(), &b"A: b\r\n".repeat(500_000)].concat(),
            1,
        ),
        ("cut members", gzip_at(&one, 0)[..60].repeat(20_000), 20_000),
        (
            "noise after a member",
            [member.as_slice(), &noise].concat(),
            1,
        ),
        (
            "lines like heads in a body",
            [one.as_slice(), &b"\nWARC/".repeat(500_000)].concat(),
            1,
        ),
    ] {
        let began = Instant::now();
        let (records, _) = count(&file);
        assert!(records >= least, "{what}: {records} of {least} records");
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{what}: {:?}",
            began.elapsed()
        );
    }
}
