//! Arbitrary bytes for the word scanner: no panic, and the same words on every instruction set. See CONTRIBUTING.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use curate_text::hash::Stream;
use curate_text::{Cpu, Offsets, Texts, Words};

/// Pieces whose neighborhood has been hard: cased, unspaced, combining, of changing length, cut off, invalid.
const PIECES: &[&[u8]] = &[
    b"a",
    b"Z_9",
    b" ",
    b"\n",
    b"word ",
    b"\0",
    b"'",
    "é".as_bytes(),
    "İ".as_bytes(),
    "ẞ".as_bytes(),
    "Σς".as_bytes(),
    "漢".as_bytes(),
    "かな".as_bytes(),
    "ไทย".as_bytes(),
    "ខ្មែរ".as_bytes(),
    "한글".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{200b}".as_bytes(),
    "😀🏽".as_bytes(),
    "ﬁ".as_bytes(),
    "K".as_bytes(),
    "\u{10ffff}".as_bytes(),
    b"\xff",
    b"\xe6\xbc",
    b"\xf0\x9f\x98",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
];

fn input(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let valid = !stream.next_u64().is_multiple_of(4);
    let count = stream.next_u64() % 120;
    for _ in 0..count {
        let choice = stream.next_u64();
        let pieces = PIECES.len() - if valid { 5 } else { 0 };
        if choice.is_multiple_of(16) && !valid {
            bytes.push((choice >> 32) as u8);
        } else if choice % 16 == 1 {
            let code = (choice >> 32) as u32 % 0x11_0000;
            bytes.extend(char::from_u32(code).unwrap_or('x').to_string().bytes());
        } else {
            let piece = PIECES[(choice >> 8) as usize % pieces];
            let times = if choice % 64 == 2 { 70 } else { 1 };
            (0..times).for_each(|_| bytes.extend_from_slice(piece));
        }
    }
    bytes
}

#[test]
#[ignore = "runs as long as FUZZ_SECONDS says"]
fn words_of_arbitrary_bytes() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(10);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = now.as_nanos() as u64;
    let (mut stream, end) = (
        Stream::new(seed),
        Instant::now() + Duration::from_secs(seconds),
    );
    let mut scanners: Vec<Words> = Cpu::all().into_iter().map(Words::new).collect();
    let (mut inputs, mut refused) = (0_u64, 0_u64);
    while Instant::now() < end {
        let bytes = input(&mut stream);
        inputs += 1;
        let offsets = [0, bytes.len() as i64];
        let texts = Texts::new(Offsets::Large(&offsets), &bytes);
        let Ok(text) = texts.text(0) else {
            assert!(
                std::str::from_utf8(&bytes).is_err(),
                "refused valid text {bytes:?}"
            );
            refused += 1;
            continue;
        };
        let mut seen: Option<(Vec<u32>, Vec<u32>, Vec<u64>)> = None;
        for words in &mut scanners {
            words.scan(0, text).unwrap();
            let found = (
                words.starts().to_vec(),
                words.ends().to_vec(),
                words.hashes().to_vec(),
            );
            for (&start, &end) in found.0.iter().zip(&found.1) {
                assert!(
                    start < end && text.get(start as usize..end as usize).is_some(),
                    "{text:?}"
                );
            }
            assert!(
                seen.get_or_insert_with(|| found.clone()) == &found,
                "paths differ on {text:?}"
            );
        }
    }
    println!("{inputs} inputs, {refused} of them no UTF-8, no finding (seed {seed})");
}
