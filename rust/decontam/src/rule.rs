//! When a measured match counts, and which of two is better.

/// No rule fires below this score, so no window that holds fewer of the question's bits need be aligned.
pub(crate) const LEAST: f64 = 0.58;

/// What is measured of an item in a window. Shares are of bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    /// Bits of the question, and of what few items share of it.
    pub bits: f64,
    pub own_bits: f64,
    /// The share that is matched, that in runs, and that in runs of what few items share.
    pub matched: f64,
    pub in_runs: f64,
    pub own_in_runs: f64,
    /// Share of the options' bits that stands near; none where there are no options.
    pub options: Option<f64>,
    /// Share of the answer that stands near, if it has three words or more.
    pub answer: Option<f64>,
    /// Whether the answer, of any length, follows the question at once.
    pub answered: bool,
}

impl Measures {
    pub fn score(&self) -> f64 {
        (self.matched + self.in_runs) / 2.0
    }

    /// Whether what stands near is evidence, and whether it is nearly all.
    fn evidence(&self) -> (bool, bool) {
        let answer = self.answer.unwrap_or(0.0);
        match self.options {
            Some(options) => (options >= 0.5 || answer >= 0.8, options >= 0.8),
            None => (answer >= 0.6, answer >= 0.8),
        }
    }

    /// The limit that the score reaches, and whether the match is sure; none where the rule does not fire.
    ///
    /// A whole question with its answer behind it is no accident, however common its words are.
    pub fn fires(&self) -> Option<(f64, bool)> {
        let exact = self.matched >= 0.97 && self.in_runs >= 0.97;
        if self.bits >= 20.0 && exact && self.answered {
            return Some((0.97, true));
        }
        let (some, full) = self.evidence();
        let usual = 0.65 + 0.25 * ((60.0 - self.bits) / 30.0).clamp(0.0, 1.0);
        let limits = [
            (self.bits >= 30.0).then_some(usual),
            (self.bits >= 20.0 && some).then_some((usual - 0.12).max(LEAST)),
            (self.bits < 30.0 && full).then_some(0.9),
        ];
        let sure = self.bits >= 60.0 || full;
        if self.own_bits < (0.15 * self.bits).max(20.0) {
            return (exact && (self.bits >= 45.0 || full)).then_some((0.97, sure));
        }
        let limit = limits.into_iter().flatten().reduce(f64::min)?;
        let template = self.own_bits < 0.95 * self.bits && self.own_in_runs < 0.75;
        (self.score() >= limit && !template).then_some((limit, sure))
    }

    /// What decides between items of one span.
    pub fn rank(&self) -> f64 {
        let beside = self.options.unwrap_or(0.0) + 0.5 * self.answer.unwrap_or(0.0);
        1000.0 * self.score() + 10.0 * self.own_in_runs + beside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A match of a question of so many bits, all of them its own.
    fn found(bits: f64, share: f64) -> Measures {
        Measures {
            bits,
            own_bits: bits,
            matched: share,
            in_runs: share,
            own_in_runs: share,
            options: None,
            answer: None,
            answered: false,
        }
    }

    #[test]
    fn the_limit_falls_as_the_question_tells_more() {
        let limit = |bits| {
            found(bits, 1.0)
                .fires()
                .map(|(limit, _)| (limit * 1000.0).round() as i32)
        };
        assert_eq!(
            [29.0, 30.0, 45.0, 60.0, 200.0].map(limit),
            [None, Some(900), Some(775), Some(650), Some(650)]
        );
        assert!(found(60.0, 0.64).fires().is_none() && found(60.0, 0.66).fires().is_some());
    }

    #[test]
    fn evidence_lowers_it_and_makes_a_match_sure() {
        let with = |bits, share, options| {
            Measures {
                options: Some(options),
                ..found(bits, share)
            }
            .fires()
        };
        assert_eq!(with(45.0, 0.66, 0.4), None);
        assert_eq!(with(45.0, 0.66, 0.5).map(|(_, sure)| sure), Some(false));
        assert_eq!(with(45.0, 0.66, 0.8).map(|(_, sure)| sure), Some(true));
        assert_eq!(
            with(15.0, 0.9, 0.8),
            None,
            "less than 20 own bits: nothing but an exact copy"
        );
        assert_eq!(with(15.0, 1.0, 0.8), Some((0.97, true)));
        let answer = Measures {
            answer: Some(0.6),
            ..found(45.0, 0.66)
        };
        assert!(answer.fires().is_some());
        let answered = |bits, share| {
            Measures {
                own_bits: 0.0,
                answered: true,
                ..found(bits, share)
            }
            .fires()
        };
        assert_eq!(
            answered(20.0, 0.97),
            Some((0.97, true)),
            "common words, and their answer"
        );
        assert_eq!((answered(20.0, 0.96), answered(19.0, 1.0)), (None, None));
    }

    #[test]
    fn a_template_alone_is_not_enough() {
        // Of 100 bits 70 are shared with many items and match; of the 30 others a third does.
        let stem = Measures {
            own_bits: 30.0,
            matched: 0.8,
            in_runs: 0.8,
            own_in_runs: 0.33,
            ..found(100.0, 0.0)
        };
        assert!(stem.fires().is_none());
        assert!(
            Measures {
                own_in_runs: 0.75,
                ..stem
            }
            .fires()
            .is_some()
        );
        let copy = Measures {
            own_bits: 5.0,
            ..found(100.0, 0.98)
        };
        assert_eq!(copy.fires(), Some((0.97, true)));
        assert!(
            Measures {
                matched: 0.96,
                ..copy
            }
            .fires()
            .is_none()
        );
    }
}
