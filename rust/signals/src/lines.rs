//! Measures of lines and paragraphs: split, strip, drop the empty ones, count repeats by hash.

use curate_text::chars::{self, SPACE};
use curate_text::hash::hash_bytes;
use memchr::memmem;

use crate::measures::Values;
use crate::{n_chars, share};

const BULLETS: [&str; 4] = ["●", "•", "*", "-"];
const ELLIPSES: [&str; 3] = ["...", ". . .", "…"];

/// Buffers of one text.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Hash of each stripped line or paragraph with its characters.
    seen: Vec<(u64, u32)>,
}

impl Lines {
    pub fn measure(&mut self, text: &str, values: &mut Values) {
        let (mut bullets, mut ellipses) = (0, 0);
        self.seen.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
            let line = strip(&text[start..end]);
            start = end + 1;
            if !line.is_empty() {
                bullets += usize::from(BULLETS.iter().any(|bullet| line.starts_with(bullet)));
                ellipses += usize::from(ELLIPSES.iter().any(|ellipsis| line.ends_with(ellipsis)));
                self.see(line);
            }
        }
        let lines = self.seen.len();
        values.n_lines = lines as f64;
        values.bullet_line_share = share(bullets, lines);
        values.ellipsis_line_share = share(ellipses, lines);
        (values.dup_line_share, values.dup_line_char_share) = self.repeats();

        self.seen.clear();
        start = 0;
        for end in memmem::find_iter(text.as_bytes(), b"\n\n").chain([text.len()]) {
            let paragraph = strip(&text[start..end]);
            start = end + 2;
            if !paragraph.is_empty() {
                self.see(paragraph);
            }
        }
        values.n_paragraphs = self.seen.len() as f64;
        (values.dup_paragraph_share, values.dup_paragraph_char_share) = self.repeats();
    }

    fn see(&mut self, part: &str) {
        self.seen
            .push((hash_bytes(part.as_bytes()), n_chars(part.as_bytes()) as u32));
    }

    /// Shares of parts and of characters that lie in parts occurring more than once.
    fn repeats(&mut self) -> (f64, f64) {
        let total: usize = self.seen.iter().map(|part| part.1 as usize).sum();
        self.seen.sort_unstable();
        let (mut parts, mut chars) = (0, 0);
        for group in self
            .seen
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|group| group.len() > 1)
        {
            parts += group.len();
            chars += group.iter().map(|part| part.1 as usize).sum::<usize>();
        }
        (share(parts, self.seen.len()), share(chars, total))
    }
}

/// The text without the whitespace (`str.isspace`) at its ends.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c| chars::classes(c as u32) & SPACE != 0)
}
