//! International bank account numbers (ISO 13616): country, two check digits, and as many characters as the country
//! says; together they are 1 modulo 97. Groups of four may be set apart by a space or a hyphen.

/// Countries and the length of their numbers, from the registry, five bytes each.
const LENGTHS: &[u8] = b"\
    AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 \
    EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 \
    JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 \
    NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 \
    TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 \
    ";

/// The account number whose check digits begin at `place`, and whose country does not begin before `floor`.
pub(crate) fn at(text: &[u8], place: usize, floor: usize) -> Option<(usize, usize)> {
    let start = place.checked_sub(2).filter(|&start| start >= floor)?;
    let country = [
        text[start].to_ascii_uppercase(),
        text[start + 1].to_ascii_uppercase(),
    ];
    if !country.iter().all(u8::is_ascii_uppercase) || !text.get(place + 1)?.is_ascii_digit() {
        return None;
    }
    if start > 0 && is_word(text[start - 1]) {
        return None;
    }
    let length = length_in(country)?;
    let mut characters = [0; 34];
    let (mut count, mut end) = (0, start);
    while count < length {
        let byte = *text.get(end)?;
        if byte.is_ascii_alphanumeric() {
            characters[count] = byte.to_ascii_uppercase();
            count += 1;
        } else if !matches!(byte, b' ' | b'-')
            || count % 4 != 0
            || !text[end - 1].is_ascii_alphanumeric()
        {
            return None;
        }
        end += 1;
    }
    let whole = text.get(end).is_none_or(|&byte| !is_word(byte));
    (whole && remainder(&characters[..length]) == 1).then_some((start, end))
}

/// How many characters an account number of this country has.
fn length_in(country: [u8; 2]) -> Option<usize> {
    let known = LENGTHS
        .as_chunks::<5>()
        .0
        .iter()
        .find(|known| known[..2] == country)?;
    Some(usize::from(known[2] - b'0') * 10 + usize::from(known[3] - b'0'))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The number modulo 97, its first four characters moved to the end, letters counted from A = 10.
fn remainder(characters: &[u8]) -> u32 {
    let moved = characters[4..].iter().chain(&characters[..4]);
    moved.fold(0, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_country_has_a_length() {
        let (countries, rest) = super::LENGTHS.as_chunks::<5>();
        assert!(rest.is_empty());
        for [a, b, ..] in countries {
            assert!((15..=34).contains(&super::length_in([*a, *b]).unwrap()));
        }
    }
}
