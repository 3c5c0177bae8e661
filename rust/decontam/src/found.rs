//! What was found, and which item of those that share a span is reported.

/// Items found in documents, a row each, by document and place.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    /// The document.
    pub rows: Vec<u32>,
    /// The item.
    pub items: Vec<u32>,
    /// How much of the item is there, as the rule counts it.
    pub scores: Vec<f64>,
    /// What the score was compared with.
    pub limits: Vec<f64>,
    /// Share of the options or of the answer that stands near, 0..1; negative where the item has neither.
    pub evidence: Vec<f64>,
    /// Whether it is sure enough to drop a document for it.
    pub sure: Vec<bool>,
    /// First byte of the span.
    pub starts: Vec<u32>,
    /// Byte after the span.
    pub ends: Vec<u32>,
}

/// An item at a place of one document; places are words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    pub item: u32,
    pub score: f64,
    pub limit: f64,
    pub evidence: f64,
    pub sure: bool,
    pub start: usize,
    pub end: usize,
    /// What decides between items of one span; the larger is better.
    pub rank: f64,
}

impl Found {
    /// Adds matches of document `row`, whose words stand at the bytes `spans`.
    pub(crate) fn add(&mut self, row: usize, matches: &[Match], spans: &[(u32, u32)]) {
        for found in matches {
            self.rows.push(row as u32);
            self.items.push(found.item);
            self.scores.push(found.score);
            self.limits.push(found.limit);
            self.evidence.push(found.evidence);
            self.sure.push(found.sure);
            self.starts.push(spans[found.start].0);
            self.ends.push(spans[found.end - 1].1);
        }
    }
}

/// Keeps the best item of each span, and those whose score is as high or that ask the same question, by place and item.
///
/// A match is of the span of a better one where at least half of its words belong to better ones. With equal scores both
/// stay, for both are there: a question can be the beginning of another. `owners` is a buffer,
/// one number for each of `words` words.
pub(crate) fn best_of_spans(
    mut matches: Vec<Match>,
    words: usize,
    owners: &mut Vec<u32>,
    same_question: impl Fn(u32, u32) -> bool,
) -> Vec<Match> {
    const NONE: u32 = u32::MAX;
    owners.clear();
    owners.resize(words, NONE);
    matches.sort_by(|a, b| {
        b.rank
            .total_cmp(&a.rank)
            .then((a.item, a.start).cmp(&(b.item, b.start)))
    });
    let mut kept: Vec<Match> = Vec::new();
    for found in matches {
        let span = &mut owners[found.start..found.end];
        let owned = span.iter().filter(|&&owner| owner != NONE).count();
        if 2 * owned >= span.len() {
            let equal = span.iter().filter(|&&owner| owner != NONE).all(|&owner| {
                let better = &kept[owner as usize];
                better.score <= found.score || same_question(better.item, found.item)
            });
            if !equal {
                continue;
            }
        }
        for owner in span.iter_mut().filter(|owner| **owner == NONE) {
            *owner = kept.len() as u32;
        }
        kept.push(found);
    }
    kept.sort_by_key(|found| (found.start, found.item, found.end));
    kept.dedup_by_key(|found| (found.start, found.item));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(matches: &[(u32, usize, usize, f64)]) -> Vec<u32> {
        let all = matches.iter().map(|&(item, start, end, rank)| Match {
            item,
            score: rank,
            limit: 0.0,
            evidence: -1.0,
            sure: true,
            start,
            end,
            rank,
        });
        let same = |a: u32, b: u32| a % 10 == b % 10;
        best_of_spans(all.collect(), 100, &mut Vec::new(), same)
            .iter()
            .map(|found| found.item)
            .collect()
    }

    #[test]
    fn the_best_item_of_a_span_stays() {
        assert_eq!(
            kept(&[(1, 0, 20, 0.9), (2, 0, 20, 1.0), (3, 50, 60, 0.7)]),
            [2, 3]
        );
        // Less than half in common: two spans.
        assert_eq!(kept(&[(1, 0, 20, 0.9), (2, 15, 40, 1.0)]), [1, 2]);
        // The same question in two benchmarks, and two items that match equally well.
        assert_eq!(kept(&[(11, 0, 20, 0.9), (1, 0, 20, 1.0)]), [1, 11]);
        assert_eq!(kept(&[(1, 0, 20, 1.0), (2, 0, 20, 1.0)]), [1, 2]);
    }
}
