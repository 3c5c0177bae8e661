//! Texts without the lines that rules cut, and where these stood.

use curate_text::{Cpu, Texts};

use crate::line_rules::{LineRule, LineRules, LinesOf, Sink};
use crate::lines::strip;
use crate::measures::Values;
use crate::{English, Error, Meter, StopWords, sentences};

/// What `cut_lines` gives. Cuts come by row and place; a measure has one number a row.
#[derive(Debug, Default)]
pub struct Cuts {
    /// The bytes of all texts that are left, and where each begins: one offset more than rows.
    pub values: Vec<u8>,
    /// See `values`.
    pub offsets: Vec<i64>,
    /// The row of each cut.
    pub row: Vec<u32>,
    /// First byte of what was cut in the text as it stood, and the byte after its last.
    pub start: Vec<u32>,
    /// See `start`.
    pub end: Vec<u32>,
    /// Number of the rule in `LINE_RULES`.
    pub rule: Vec<u8>,
    /// What the rule measured, where that is a number.
    pub value: Vec<Option<f64>>,
    /// Sentences of the lines that are left; 0 for the rules of RefinedWeb.
    pub n_sentences: Vec<f64>,
    /// 1 where "lorem ipsum" ended the reading of the text, which is left as it was.
    pub lorem_ipsum: Vec<f64>,
    /// 1 where a curly bracket did.
    pub curly_bracket: Vec<f64>,
    /// Words removed over words, of those that begin with a letter or number.
    pub removed_word_share: Vec<f64>,
}

impl Sink for Cuts {
    fn cut(&mut self, rule: LineRule, value: Option<f64>, from: usize, to: usize) {
        self.row.push(self.offsets.len() as u32 - 1);
        self.start.push(from as u32);
        self.end.push(to as u32);
        self.rule.push(rule as u8);
        self.value.push(value);
    }

    fn keep(&mut self, line: &str) {
        self.values.extend_from_slice(line.as_bytes());
        self.values.push(b'\n');
    }
}

/// Applies rules on lines to every text. With `english` the sentences of c4@datatrove are counted by spaCy's words.
pub fn cut_lines(
    texts: Texts<'_>,
    rules: &LineRules,
    english: Option<&mut English>,
    cpu: Cpu,
) -> Result<Cuts, Error> {
    let mut cuts = Cuts {
        offsets: vec![0],
        ..Cuts::default()
    };
    let mut meter = Meter::new(cpu, english.filter(|_| rules.whose == LinesOf::C4Datatrove));
    let none = StopWords::new([]);
    for row in 0..texts.len() {
        let text = texts.text(row)?;
        let mut values = Values::default();
        let characters = meter.read(row, text, &mut values)?;
        if meter.words.is_english() {
            let tokens = &meter.tokens;
            meter
                .words
                .measure(text, tokens, &characters, (0, 0), &none, &mut values);
        }
        let (from, cut_from) = (cuts.values.len(), cuts.row.len());
        let mut words = std::mem::take(&mut meter.words);
        let document = meter.document(text);
        let judged = match rules.whose {
            LinesOf::RefinedWeb => document.refined_web(rules, values.n_alnum_words, &mut cuts),
            _ if words.is_english() => {
                let count = |line, changed: Option<&str>| {
                    words.sentences(document.line(line), text, changed)
                };
                document.c4(rules, count, &mut cuts)
            }
            _ => {
                let count = |line: usize, changed: Option<&str>| match changed {
                    Some(changed) => sentences::sentences(changed),
                    None => meter.sentences[line] as usize,
                };
                document.c4(rules, count, &mut cuts)
            }
        };
        meter.words = words;
        if judged.lorem_ipsum || judged.curly_bracket {
            cuts.values.truncate(from);
            cuts.values.extend_from_slice(text.as_bytes());
            cuts.forget(cut_from);
        } else {
            cuts.strip(from);
        }
        cuts.offsets.push(cuts.values.len() as i64);
        cuts.n_sentences.push(judged.sentences as f64);
        cuts.lorem_ipsum.push(f64::from(judged.lorem_ipsum));
        cuts.curly_bracket.push(f64::from(judged.curly_bracket));
        cuts.removed_word_share.push(judged.removed_share);
    }
    Ok(cuts)
}

impl Cuts {
    /// Strips the text that begins at byte `from` of the values.
    fn strip(&mut self, from: usize) {
        let text = std::str::from_utf8(&self.values[from..]).unwrap_or("");
        let inner = strip(text);
        let start = from + (inner.as_ptr() as usize - text.as_ptr() as usize);
        let end = start + inner.len();
        self.values.copy_within(start..end, from);
        self.values.truncate(from + end - start);
    }

    /// Drops all cuts from number `from` on.
    fn forget(&mut self, from: usize) {
        self.row.truncate(from);
        self.start.truncate(from);
        self.end.truncate(from);
        self.rule.truncate(from);
        self.value.truncate(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use curate_text::Offsets;

    fn cut(text: &str, rules: &LineRules) -> (String, Vec<(String, LineRule)>, Cuts) {
        let offsets = [0, text.len() as i64];
        let texts = Texts::new(Offsets::Large(&offsets), text.as_bytes());
        let cuts = cut_lines(texts, rules, None, Cpu::all()[0]).unwrap();
        let spans = (0..cuts.row.len()).map(|i| {
            let span = &text[cuts.start[i] as usize..cuts.end[i] as usize];
            (span.to_owned(), crate::LINE_RULES[cuts.rule[i] as usize].0)
        });
        (
            String::from_utf8(cuts.values.clone()).unwrap(),
            spans.collect(),
            cuts,
        )
    }

    #[test]
    fn c4_cuts_lines_and_citations() {
        let text = "  This line[1] stays as it is.\r\nNo mark here\n\nToo short.\nWe use cookies on this page of ours.\nThe last line stays too!";
        let (left, cuts, found) = cut(text, &LineRules::published(LinesOf::C4Tfds));
        assert_eq!(left, "This line stays as it is.\nThe last line stays too!");
        let expected = [
            ("[1]", LineRule::Citation),
            ("No mark here\n", LineRule::EndMark),
            ("Too short.\n", LineRule::FewWords),
            ("We use cookies on this page of ours.\n", LineRule::Policy),
        ];
        assert_eq!(cuts, expected.map(|(span, rule)| (span.to_owned(), rule)));
        assert_eq!(found.n_sentences, [2.0]);
    }

    #[test]
    fn a_document_that_ends_the_reading_is_left_as_it_was() {
        let text = "Nothing here\nA function of five words {.\n";
        let mut rules = LineRules::published(LinesOf::C4Datatrove);
        rules.limits[LineRule::EndMark as usize] = None;
        let (left, cuts, found) = cut(text, &rules);
        assert_eq!(
            (left.as_str(), cuts.len(), found.curly_bracket[0]),
            (text, 0, 1.0)
        );
        rules.curly_bracket = false;
        assert_eq!(cut(text, &rules).0, "A function of five words {.");
    }

    #[test]
    fn refined_web_cuts_lines_and_phrases() {
        let text = "\nSHOUTING IS CUT\n12 \n\n3 likes\nword\nSign-in to read on\nthe rest of it stays here\n";
        let (left, cuts, found) = cut(text, &LineRules::published(LinesOf::RefinedWeb));
        assert_eq!(left, "to read on\nthe rest of it stays here");
        let rules: Vec<_> = cuts.iter().map(|cut| cut.1).collect();
        use LineRule::{Counter, FewWords, Phrase, Uppercase};
        assert_eq!(rules, [Uppercase, FewWords, Counter, FewWords, Phrase]);
        assert!(
            (found.removed_word_share[0] - 8.0 / 17.0).abs() < 1e-9,
            "{found:?}"
        );
    }
}
