//! Alignment of a question with a window of a document: the heaviest common subsequence of words.

/// Weights are in units of 1/256 bit, so that sums are exact and the same on every machine.
pub const UNIT: f64 = 256.0;
/// What a match is worth beside its word: 0.05 bit, so that more matches beat fewer of the same weight.
const MATCH: i32 = 13;
/// What a match that follows the match before it directly is worth beside: 2 bits.
const CONTIGUOUS: i32 = 512;
/// No match ends here.
const NEVER: i32 = i32::MIN / 2;

const MATCHED: u8 = 1;
const CONTINUES: u8 = 2;
const LEFT: u8 = 4;

/// The buffers of an alignment: 1 byte for every pair of words, and four rows of numbers.
#[derive(Debug, Default)]
pub struct Aligner {
    ways: Vec<u8>,
    ends: [Vec<i32>; 2],
    bests: [Vec<i32>; 2],
    /// For each word of the question the word of the window that it is matched with, or `usize::MAX`.
    pub matched: Vec<usize>,
}

impl Aligner {
    /// Aligns `question`, whose word i weighs `weights[i]`, with `window`; the result is `matched`.
    pub fn align(&mut self, question: &[u32], weights: &[u16], window: &[u32]) {
        let columns = window.len() + 1;
        self.ways.clear();
        self.ways.resize((question.len() + 1) * columns, 0);
        for row in self.ends.iter_mut() {
            row.clear();
            row.resize(columns, NEVER);
        }
        for row in self.bests.iter_mut() {
            row.clear();
            row.resize(columns, 0);
        }
        for (i, (&word, &weight)) in question.iter().zip(weights).enumerate() {
            let ways = &mut self.ways[(i + 1) * columns..(i + 2) * columns];
            let ([end_above, end], [above, best]) = (&mut self.ends, &mut self.bests);
            // Rows take turns; the one that is written was the one before the last.
            let ((end_above, end), (above, best)) = if i % 2 == 0 {
                ((&*end_above, end), (&*above, best))
            } else {
                ((&*end, end_above), (&*best, above))
            };
            fill(
                word,
                i32::from(weight) + MATCH,
                window,
                ways,
                (end_above, end),
                (above, best),
            );
        }
        self.trace(question.len(), columns);
    }

    /// Walks back from the end of both and notes the matches.
    fn trace(&mut self, rows: usize, columns: usize) {
        self.matched.clear();
        self.matched.resize(rows, usize::MAX);
        let (mut i, mut j, mut inside) = (rows, columns - 1, false);
        while i > 0 && j > 0 {
            let way = self.ways[i * columns + j];
            if inside || way & MATCHED != 0 {
                self.matched[i - 1] = j - 1;
                inside = way & CONTINUES != 0;
                (i, j) = (i - 1, j - 1);
            } else if way & LEFT != 0 {
                j -= 1;
            } else {
                i -= 1;
            }
        }
    }

    /// Whether word i is matched next to a match of its neighbor, or is the only word.
    pub fn in_run(&self, i: usize) -> bool {
        let at = self.matched[i];
        let beside =
            |other: Option<&usize>, wanted: usize| other.is_some_and(|&found| found == wanted);
        at != usize::MAX
            && (self.matched.len() == 1
                || at > 0 && i > 0 && beside(self.matched.get(i - 1), at - 1)
                || beside(self.matched.get(i + 1), at + 1))
    }
}

/// One row: `ends[j]` is the most that ends with a match at j, `bests[j]` the most up to j. (row above, this row)
#[inline]
fn fill(
    word: u32,
    worth: i32,
    window: &[u32],
    ways: &mut [u8],
    (end_above, end): (&[i32], &mut [i32]),
    (above, best): (&[i32], &mut [i32]),
) {
    let mut left = 0;
    for (j, &other) in window.iter().enumerate() {
        let mut way = 0;
        let mut here = NEVER;
        if word == other {
            let continued = end_above[j] + CONTIGUOUS;
            here = worth + continued.max(above[j]);
            way = if continued > above[j] { CONTINUES } else { 0 };
        }
        let up = above[j + 1];
        let most = left.max(up);
        way |= if here >= most { MATCHED } else { 0 };
        way |= if left >= up { LEFT } else { 0 };
        left = most.max(here);
        (end[j + 1], best[j + 1]) = (here, left);
        ways[j + 1] = way;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(question: &[u32], window: &[u32]) -> Vec<usize> {
        let mut aligner = Aligner::default();
        aligner.align(question, &vec![256; question.len()], window);
        aligner.matched
    }

    const NONE: usize = usize::MAX;

    #[test]
    fn edits_are_stepped_over() {
        assert_eq!(aligned(&[1, 2, 3, 4], &[9, 1, 2, 3, 4, 9]), [1, 2, 3, 4]);
        assert_eq!(aligned(&[1, 2, 3, 4], &[1, 2, 7, 3, 4]), [0, 1, 3, 4]);
        assert_eq!(aligned(&[1, 2, 3, 4], &[1, 2, 7, 4]), [0, 1, NONE, 3]);
        assert_eq!(aligned(&[1, 2], &[7, 8]), [NONE, NONE]);
        assert_eq!(aligned(&[1], &[]), [NONE]);
    }

    #[test]
    fn matches_in_a_row_are_preferred() {
        assert_eq!(aligned(&[1, 2], &[1, 9, 1, 2]), [2, 3]);
        assert_eq!(aligned(&[5, 1, 2], &[5, 1, 9, 9, 1, 2]), [0, 1, 5]);
    }

    #[test]
    fn a_run_has_two_words() {
        let mut aligner = Aligner::default();
        aligner.align(&[1, 2, 3], &[256; 3], &[1, 2, 9, 3]);
        assert_eq!([0, 1, 2].map(|i| aligner.in_run(i)), [true, true, false]);
        aligner.align(&[1], &[256], &[1]);
        assert!(aligner.in_run(0));
    }

    /// The most weight of any common subsequence is found, up to what runs are worth.
    #[test]
    fn no_common_subsequence_is_longer() {
        let mut stream = curate_text::hash::Stream::new(5);
        for _ in 0..300 {
            let mut words = |n: usize| {
                (0..n)
                    .map(|_| (stream.next_u64() % 5) as u32)
                    .collect::<Vec<_>>()
            };
            let (question, window) = (words(7), words(9));
            let matched = aligned(&question, &window);
            let pairs: Vec<(usize, usize)> = matched
                .iter()
                .enumerate()
                .filter(|m| *m.1 != NONE)
                .map(|(i, &j)| (i, j))
                .collect();
            assert!(pairs.iter().all(|&(i, j)| question[i] == window[j]));
            assert!(pairs.windows(2).all(|two| two[0].1 < two[1].1));
            let value = |pairs: &[(usize, usize)]| -> i32 {
                let runs = pairs
                    .windows(2)
                    .filter(|t| t[1].0 == t[0].0 + 1 && t[1].1 == t[0].1 + 1)
                    .count();
                pairs.len() as i32 * (256 + MATCH) + runs as i32 * CONTIGUOUS
            };
            assert_eq!(
                value(&pairs),
                best(&question, &window, 0, 0, None),
                "{question:?} {window:?}"
            );
        }
    }

    /// Every subsequence tried.
    fn best(
        question: &[u32],
        window: &[u32],
        i: usize,
        j: usize,
        last: Option<(usize, usize)>,
    ) -> i32 {
        let mut most = 0;
        for a in i..question.len() {
            for b in j..window.len() {
                if question[a] == window[b] {
                    let run = last.is_some_and(|(x, y)| x + 1 == a && y + 1 == b);
                    let here = 256 + MATCH + if run { CONTIGUOUS } else { 0 };
                    most = most.max(here + best(question, window, a + 1, b + 1, Some((a, b))));
                }
            }
        }
        most
    }
}
