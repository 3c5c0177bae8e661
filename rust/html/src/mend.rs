//! UTF-8 that was taken for windows-1252 and encoded once more: `GrÃ¶ÃŸe` back to `Größe`.
//!
//! A run of characters beyond ASCII is mended where its bytes in windows-1252 are UTF-8, and only on a page most of
//! whose runs are such: right text almost never has one, and a page that quotes some is left as it is.

/// A page of fewer runs that could be mended is left as it is.
const MIN_RUNS: usize = 3;
/// Of runs that can be mended there must be this many for each that cannot.
const MENDED_FOR_RIGHT: usize = 2;

/// The mended text; None where the page is right as it is.
pub fn mended(text: &str) -> Option<String> {
    if !is_suspect(text.as_bytes()) {
        return None;
    }
    let (mut mended, mut right) = (0, 0);
    for_runs(text, |_, run| match run.map(original) {
        Some(Some(_)) => mended += 1,
        Some(None) => right += 1,
        None => {}
    });
    if mended < MIN_RUNS || mended < right * MENDED_FOR_RIGHT {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for_runs(text, |plain, run| {
        out.push_str(plain);
        if let Some(run) = run {
            match original(run) {
                Some(original) => out.push_str(&original),
                None => out.push_str(run),
            }
        }
    });
    Some(out)
}

/// Whether a lead byte and a continuation byte of UTF-8 stand side by side as characters, often enough.
fn is_suspect(text: &[u8]) -> bool {
    let mut found = 0;
    for at in memchr::memchr_iter(0xC3, text) {
        let pair = text.get(at + 1).zip(text.get(at + 2));
        let suspect = pair.is_some_and(|(&lead, &next)| {
            (0x82..=0xB4).contains(&lead) && matches!(next, 0xC2 | 0xC5 | 0xC6 | 0xCB | 0xE2)
        });
        found += usize::from(suspect);
        if found >= MIN_RUNS {
            return true;
        }
    }
    false
}

/// Gives the text piece by piece: ASCII, and the run beyond ASCII that follows it, if one does.
fn for_runs<'a>(text: &'a str, mut each: impl FnMut(&'a str, Option<&'a str>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = bytes[at..].iter().position(|byte| !byte.is_ascii());
        let Some(start) = start.map(|n| at + n) else {
            return each(&text[at..], None);
        };
        let end = bytes[start..].iter().position(u8::is_ascii);
        let end = end.map_or(bytes.len(), |n| start + n);
        each(&text[at..start], Some(&text[start..end]));
        at = end;
    }
}

/// What a run was before it was encoded the second time; None where it was encoded once.
fn original(run: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(run.len() / 2);
    for c in run.chars() {
        bytes.push(byte_of(c)?);
    }
    String::from_utf8(bytes).ok()
}

/// The byte that windows-1252 reads as this character; controls of ISO-8859-1 are themselves.
fn byte_of(c: char) -> Option<u8> {
    if let Ok(byte) = u8::try_from(u32::from(c)) {
        return Some(byte);
    }
    const FROM_80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let place = FROM_80.iter().position(|&known| known == c)?;
    Some(0x80 + place as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text as it looks after its UTF-8 was read as windows-1252.
    fn twice(text: &str) -> String {
        encoding_rs::WINDOWS_1252
            .decode_without_bom_handling(text.as_bytes())
            .0
            .into_owned()
    }

    #[test]
    fn what_was_encoded_twice_is_encoded_once() {
        let text = "Übermäßig schöne Türme – „größer“ als jeder Maßstab, 5 € für Führungen";
        assert_eq!(mended(&twice(text)).as_deref(), Some(text));
        assert_eq!(mended(text), None);
    }

    #[test]
    fn a_page_that_quotes_such_text_stays_as_it_is() {
        assert_eq!(
            mended("If you see Ã¶ instead of ö, the page is UTF-8."),
            None
        );
        let quotes = format!(
            "naïve café, élan; {} … déjà vu, façade, rôle",
            twice("é à ö")
        );
        assert_eq!(mended(&quotes), None);
        assert_eq!(mended("SÃO PAULO, CORAÇÃO, AVIÃO, NÃO, IRMÃ"), None);
    }
}
