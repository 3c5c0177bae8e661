//! The written forms of phone numbers, by their groups of digits.

use crate::numbers::Groups;

/// Behind a `+`: a country, and 8 to 15 digits in all.
pub(crate) fn is_international(groups: &Groups) -> bool {
    let digits = groups.digits();
    // Two groups with a full stop are a decimal number.
    let decimal = groups.shape().len() == 2 && groups.gaps()[0] == b'.';
    // North America has 11 digits, with its 1.
    let length = if digits[0] == b'1' { 11..=11 } else { 8..=15 };
    length.contains(&digits.len()) && digits[0] != b'0' && !decimal && groups.shape().len() <= 7
}

/// With the area in parentheses: `(area) number`.
pub(crate) fn has_area(groups: &Groups) -> bool {
    let (digits, shape) = (groups.digits(), groups.shape());
    let year = shape[0] == 4 && (digits.starts_with(b"19") || digits.starts_with(b"20"));
    (2..=4).contains(&groups.shape().len())
        && groups.gaps()[0] == b'('
        && !groups.gaps()[1..].contains(&b'(')
        && (8..=12).contains(&digits.len())
        && (2..=5).contains(&shape[0])
        && shape[1..].iter().all(|&length| length >= 2)
        && !year
}

/// The written forms of North America, and of countries whose national numbers begin with 0.
pub(crate) fn is_national(groups: &Groups) -> bool {
    let (digits, shape) = (groups.digits(), groups.shape());
    let area = |place: usize| (b'2'..=b'9').contains(&digits[place]);
    let zero = digits[0] == b'0';
    let one_kind = groups.evenly(b" -.");
    let spaces = groups.evenly(b" ");
    match *shape {
        [3, 3, 4] if one_kind => zero || area(0) && (area(3) || !spaces),
        [1, 3, 3, 4] => one_kind && digits[0] == b'1' && area(1) || is_north_american(groups),
        [3, 3, 3, 4] => one_kind && digits.starts_with(b"00"),
        [2, 2, 2, 2, 2] => one_kind && zero && digits[1] != b'0' && !is_ascending(digits),
        [2, 3, 3, 4]
        | [4, 3, 2, 2]
        | [4, 2, 2, 2]
        | [2, 3, 2, 2]
        | [3, 3, 2, 2]
        | [3, 4, 4]
        | [5, 3, 3] => spaces && zero,
        _ => {
            digits.starts_with(b"00")
                && digits[2] != b'0'
                && (11..=16).contains(&digits.len())
                && spaces
                && shape.len() > 1
                && shape[0] > 3
        }
    }
}

/// `1 (212) 555-0143`
fn is_north_american(groups: &Groups) -> bool {
    groups.digits()[0] == b'1' && groups.gaps()[..2] == [b'(', b'('] && groups.gaps()[2] != b'('
}

/// Whether each pair of digits is greater than the one before, as in numbers that were drawn.
fn is_ascending(digits: &[u8]) -> bool {
    digits.as_chunks::<2>().0.is_sorted()
}

/// Forms that other numbers have too.
pub(crate) fn is_weak(groups: &Groups) -> bool {
    let (digits, shape) = (groups.digits(), groups.shape());
    let years = shape.iter().all(|&length| length == 4)
        && digits
            .chunks(4)
            .all(|year| matches!(year, [b'1', b'9', ..] | [b'2', b'0', ..]));
    let known = matches!(
        *shape,
        [7] | [10]
            | [11]
            | [3, 4]
            | [4, 4]
            | [2, 6]
            | [4, 7]
            | [3, 6]
            | [3, 7]
            | [3, 8]
            | [4, 5]
            | [5, 5]
            | [5, 6]
            | [4, 6]
            | [3, 3, 3]
            | [2, 3, 3]
            | [3, 2, 3]
            | [2, 3, 4]
            | [3, 3, 4]
            | [3, 4, 4]
            | [5, 3, 3]
            | [2, 4, 4]
            | [2, 2, 2, 2]
            | [3, 2, 2]
            | [3, 3, 2, 2]
            | [2, 3, 2, 2]
            | [2, 3, 3, 4]
            | [3, 3, 3, 4]
            | [2, 2, 2, 2, 2]
    );
    let one_kind =
        groups.shape().len() == 1 || groups.gaps().iter().all(|gap| b" -.(".contains(gap));
    known && one_kind && !years
}
