//! Character data into blocks: white space, line breaks, the beginnings and ends of blocks.

use crate::builder::{Builder, MAX_MARKS};
use crate::characters::{collapse, keep};
use crate::page::{Block, Mark};

/// Indentation kept from white space before the first element of a pre.
const MAX_INDENT: usize = 200;

impl Builder {
    /// Character data.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        if self.skipping > 0 {
            return;
        }
        if self.in_block {
            return self.put(text);
        }
        let Some(first) = text.iter().position(|&byte| byte > b' ') else {
            if self.pres > 0 {
                self.note_indent(text);
            }
            return;
        };
        let top = &self.open[self.open.len() - 1];
        self.block.node = top.node;
        self.block.context = top.context;
        self.block.text.start = self.page.text.len() as u32;
        self.begin_block();
        if self.pres > 0 {
            self.note_indent(&text[..first]);
            self.page.text.append(&mut self.indent);
        }
        self.put(&text[first..]);
    }

    /// Begins a block at the end of the text.
    pub(crate) fn begin_block(&mut self) {
        self.block.n_links = u16::from(self.links > 0);
        self.block.n_images = std::mem::take(&mut self.n_images);
        self.block.n_inputs = std::mem::take(&mut self.n_inputs);
        self.in_block = true;
        self.space = false;
        self.breaks = 0;
        self.apart = false;
        self.line_ended = false;
        self.block.marks.start = self.page.marks.len() as u32;
        if self.marked > 0 && self.pres == 0 {
            let at = self.page.text.len() as u32;
            let open = self.open.iter().filter_map(|open| open.mark);
            for (kind, address) in open.take(MAX_MARKS.saturating_sub(self.page.marks.len())) {
                let begins = true;
                self.page.marks.push(Mark {
                    at,
                    kind,
                    begins,
                    address,
                });
            }
        }
    }

    /// Remembers what of this white space stands on the line that the text of a pre will begin on.
    fn note_indent(&mut self, white: &[u8]) {
        let line = white.iter().rposition(|&byte| byte == b'\n');
        if line.is_some() {
            self.indent.clear();
        }
        let kept = &white[line.map_or(0, |at| at + 1)..];
        let room = MAX_INDENT.saturating_sub(self.indent.len());
        let blanks = kept
            .iter()
            .copied()
            .filter(|byte| matches!(byte, b' ' | b'\t'));
        self.indent.extend(blanks.take(room));
    }

    fn put(&mut self, mut text: &[u8]) {
        self.after_link = false;
        let before = self.page.text.len();
        if self.breaks > 0 {
            let Some(first) = text.iter().position(|&byte| byte > b' ') else {
                return;
            };
            text = &text[first..];
            if self.codes > 0 {
                self.page
                    .text
                    .extend(std::iter::repeat_n(b'\n', usize::from(self.breaks)));
                text = indent(text, &mut self.page.text);
            } else {
                self.page.text.push(b'\n');
            }
            self.space = false;
            self.breaks = 0;
        }
        if self.pres > 0 {
            if self.after_number {
                self.after_number = false;
                text = without_separator(text);
            }
            if self.line_ended {
                self.continue_line(text);
            }
            keep(text, &mut self.page.text);
        } else if self.preserved > 0 {
            keep(text, &mut self.page.text);
        } else {
            if self.apart {
                self.set_apart(text);
            }
            collapse(text, &mut self.page.text, &mut self.space);
        }
        let added = (self.page.text.len() - before) as u32;
        if self.links > 0 {
            self.block.link_bytes += added;
        }
        if self.strongs > 0 {
            self.block.strong_bytes += added;
        }
    }

    pub(crate) fn block_bytes(&self) -> usize {
        if self.in_block {
            self.page.text.len() - self.block.text.start as usize
        } else {
            0
        }
    }

    pub(crate) fn line_break(&mut self) {
        if self.pres > 0 {
            if self.in_block {
                self.page.text.push(b'\n');
                self.line_ended = false;
            }
        } else if self.codes > 0 && self.in_block {
            self.breaks = self.breaks.saturating_add(1);
            self.block.n_breaks = self.block.n_breaks.saturating_add(1);
        } else if self.breaks > 0 {
            self.flush();
            self.breaks = 1;
        } else {
            self.breaks = 1;
            if self.in_block {
                self.block.n_breaks = self.block.n_breaks.saturating_add(1);
            }
        }
    }

    /// Ends the block, if one is open.
    pub(crate) fn flush(&mut self) {
        self.breaks = 0;
        if !self.in_block {
            return;
        }
        self.in_block = false;
        self.space = false;
        let start = self.block.text.start as usize;
        let text = &mut self.page.text;
        while text.len() > start && text[text.len() - 1] <= b' ' {
            text.pop();
        }
        let mut block = std::mem::take(&mut self.block);
        block.marks.end = self.page.marks.len() as u32;
        if text.len() > start {
            let end = text.len() as u32;
            text.push(b'\n');
            self.page.blocks.push(Block {
                text: block.text.start..end,
                ..block
            });
        }
    }
}

/// Appends the indentation that a line of code outside pre has as no-break spaces; gives the rest of the line.
fn indent<'a>(mut text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let spaces: [&[u8]; 5] = ["\u{a0}".as_bytes(), b"&nbsp;", b"&#160;", b"&nbsp", b" "];
    while let Some(rest) = spaces.iter().find_map(|space| text.strip_prefix(*space)) {
        out.push(b' ');
        text = rest;
    }
    text
}

/// Without the no-break space that stands between a line's number and the line.
fn without_separator(text: &[u8]) -> &[u8] {
    let spaces: [&[u8]; 3] = ["\u{a0}".as_bytes(), b"&nbsp;", b"&#160;"];
    spaces
        .iter()
        .find_map(|space| text.strip_prefix(*space))
        .unwrap_or(text)
}
