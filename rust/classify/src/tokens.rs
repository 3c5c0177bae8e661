//! The form in which our own classifiers read text: lower-cased words and single marks, with spaces between them.

/// Appends the tokens of `text` to `out`, each followed by a space.
///
/// A word is a run of letters and marks; a run of digits is the token `0`, whatever the number, since numbers are of
/// no class; any other character that is no white space is a token of its own.
pub fn plain_tokens(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut place = 0;
    let mut before = Kind::Space;
    while let Some(&byte) = bytes.get(place) {
        if byte < 128 {
            let kind = KINDS[usize::from(byte)];
            put(out, before, kind, |out| out.push(byte.to_ascii_lowercase()));
            (before, place) = (kind, place + 1);
            continue;
        }
        let Some(character) = text[place..].chars().next() else {
            break;
        };
        let kind = kind_of(character);
        put(out, before, kind, |out| {
            let mut utf8 = [0; 4];
            for lower in character.to_lowercase() {
                out.extend_from_slice(lower.encode_utf8(&mut utf8).as_bytes());
            }
        });
        (before, place) = (kind, place + character.len_utf8());
    }
    if before != Kind::Space {
        out.push(b' ');
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Space,
    Letter,
    Digit,
    Mark,
}

static KINDS: [Kind; 128] = {
    let mut kinds = [Kind::Mark; 128];
    let mut value = 0;
    while value < 128 {
        kinds[value] = match value as u8 {
            b'0'..=b'9' => Kind::Digit,
            b'a'..=b'z' | b'A'..=b'Z' => Kind::Letter,
            0..=b' ' | 127 => Kind::Space,
            _ => Kind::Mark,
        };
        value += 1;
    }
    kinds
};

fn kind_of(character: char) -> Kind {
    if character.is_alphabetic() || ('\u{300}'..='\u{36f}').contains(&character) {
        Kind::Letter
    } else if character.is_numeric() {
        Kind::Digit
    } else if character.is_whitespace() || character.is_control() {
        Kind::Space
    } else {
        Kind::Mark
    }
}

/// Writes a character, with a space before it where a token ends there.
#[inline]
fn put(out: &mut Vec<u8>, before: Kind, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    if before != Kind::Space && (kind != before || kind == Kind::Mark) {
        out.push(b' ');
    }
    match kind {
        Kind::Space => {}
        Kind::Digit if before == Kind::Digit => {}
        Kind::Digit => out.push(b'0'),
        Kind::Letter | Kind::Mark => write(out),
    }
}
