//! Files with mutations: no panic, no record twice as long as the file's content, time that stays small. See
//! CONTRIBUTING.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{gzip, gzip_at, read, record, warc, zstd};

/// Numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// What is put into files: parts of headers, magic bytes, ends of lines, sizes.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"WARC/1.0\r\n",
    b"\nWARC/1.1\r\nWARC-Type: response\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip, br, deflate, zstd\r\n",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    b"\x1f\x8b\x08\x0c",
    b"\x28\xb5\x2f\xfd",
    b"\x5d\x2a\x4d\x18\x04\x00\x00\x00",
    b"http://a.test/ 192.0.2.1 20080430204826 text/html 12\n",
    b"filedesc://a.arc 0.0.0.0 20080430204825 text/plain 3\n",
    b"ffffffff\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"\0\0\0\0",
    b"\xef\xbb\xbf",
    b"x\x9c",
];

fn seeds() -> Vec<Vec<u8>> {
    let coded = |coding: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {coding}\r\n\r\n"
        );
        warc(
            "response",
            "application/http",
            7,
            &[head.as_bytes(), body].concat(),
            "\r\n",
        )
    };
    let page = b"<p>words of a page, words of a page</p>".repeat(8);
    let records = [
        warc(
            "warcinfo",
            "application/warc-fields",
            0,
            b"software: test\r\n",
            "\r\n",
        ),
        record(1, &page, "\r\n"),
        record(2, b"<p>lines</p>", "\n"),
        coded("gzip", &gzip(&page)),
        coded("zstd", &zstd(&page)),
        coded("br", &page),
        warc(
            "response",
            "application/http",
            3,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "\r\n",
        ),
        warc(
            "revisit",
            "application/http",
            4,
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
            "\r\n",
        ),
    ];
    let plain = records.concat();
    let arc = b"filedesc://a.arc 0.0.0.0 20080430204825 text/plain 5\n1 0 a\nhttp://a.test/ 192.0.2.1 20080430204826 text/html 11\n<p>arc</p>\n\n".to_vec();
    vec![
        plain.clone(),
        records.iter().flat_map(|record| gzip(record)).collect(),
        records
            .iter()
            .flat_map(|record| gzip_at(record, 0))
            .collect(),
        plain.chunks(333).flat_map(gzip).collect(),
        gzip(&plain),
        records.iter().flat_map(|record| zstd(record)).collect(),
        zstd(&plain),
        gzip(&arc),
        arc,
    ]
}

fn mutated(seed: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut file = seed.to_vec();
    for _ in 0..=numbers.below(8) {
        let at = numbers.below(file.len());
        match numbers.below(6) {
            0 if !file.is_empty() => file[at] = numbers.below(256) as u8,
            1 => file.truncate(at),
            2 => drop(file.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            3 => drop(file.drain(at..(at + numbers.below(200)).min(file.len()))),
            4 => {
                let copy = file[at..(at + numbers.below(400)).min(file.len())].to_vec();
                let to = numbers.below(file.len());
                drop(file.splice(to..to, copy));
            }
            _ => {
                let end = (at + numbers.below(12)).min(file.len());
                file[at..end]
                    .iter_mut()
                    .for_each(|byte| *byte ^= numbers.below(256) as u8);
            }
        }
    }
    file
}

#[test]
#[ignore = "runs as long as FUZZ_SECONDS says"]
fn mutated_files() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = now.as_nanos() as u64 | 1;
    let (mut numbers, end) = (Numbers(seed), Instant::now() + Duration::from_secs(seconds));
    let seeds = seeds();
    let (mut files, mut rows, mut worst) = (0_u64, 0_usize, Duration::ZERO);
    println!("seed {seed}");
    while Instant::now() < end {
        let mut file = mutated(&seeds[numbers.below(seeds.len())], &mut numbers);
        if numbers.below(4) == 0 {
            // What the codings inside are given: a whole member of a mutated file.
            file = gzip(&mutated(&seeds[0], &mut numbers));
        }
        let cut = numbers.below(file.len() + 1) as u64;
        let began = Instant::now();
        let given = file.clone();
        let outcome = std::panic::catch_unwind(move || {
            let whole = read(&given, 0, None);
            let parts = [read(&given, 0, Some(cut)), read(&given, cut, None)];
            (
                whole.rows.len(),
                parts.iter().map(|part| part.rows.len()).sum::<usize>(),
            )
        });
        let took = began.elapsed();
        let fine = outcome
            .as_ref()
            .is_ok_and(|_| took < Duration::from_secs(2));
        assert!(
            fine,
            "seed {seed}, file {files}, cut {cut}, {took:?}: {file:?}"
        );
        rows += outcome.map_or(0, |found| found.0);
        worst = worst.max(took);
        files += 1;
    }
    println!("{files} files, {rows} rows, the slowest took {worst:?}; nothing found");
}
