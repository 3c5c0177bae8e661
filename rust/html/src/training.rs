//! What training needs of pages, from the code that extraction runs: blocks, tokens and rows.

use crate::Error;
use crate::decode::decode;
use crate::features::first::Measured;
use crate::features::{Rows, first, second};
use crate::linear::Linear;
use crate::page::{NONE, Page};
use crate::tokenizer::parse;

/// Lists of numbers, one after the other.
#[derive(Clone, Debug)]
pub struct Lists {
    /// List i is `values[offsets[i]..offsets[i + 1]]`.
    pub offsets: Vec<i64>,
    /// The numbers of all lists.
    pub values: Vec<u32>,
}

impl Lists {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            values: Vec::new(),
        }
    }

    fn end(&mut self) {
        self.offsets.push(self.values.len() as i64);
    }
}

/// The blocks of a page, and what the linear weights are learned from.
#[derive(Clone, Debug)]
pub struct Blocks {
    /// Text of each block.
    pub texts: Vec<String>,
    /// Slots of the names around each block, those of inline elements at its start first.
    pub names: Lists,
    /// Slots of its first words.
    pub words: Lists,
}

/// Reads a page as extraction does.
pub fn read(bytes: &[u8], declared: Option<&str>) -> Page {
    parse(&decode(bytes, declared).text)
}

/// The blocks of a page.
pub fn blocks(page: &Page) -> Blocks {
    let (mut measured, mut rows) = (Measured::default(), Rows::default());
    first::features(page, &Linear::untrained(), &mut measured, &mut rows);
    let mut blocks = Blocks {
        texts: (0..page.blocks.len())
            .map(|block| page.text_of(block).into_owned())
            .collect(),
        names: Lists::new(),
        words: Lists::new(),
    };
    let name = |token: &u32| Linear::name_slot(*token) as u32;
    for (block, shape) in page.blocks.iter().zip(&measured.shapes) {
        let own = &page.tokens[block.tokens.start as usize..block.tokens.end as usize];
        blocks.names.values.extend(own.iter().map(name));
        let mut at = block.node;
        while at != NONE {
            let node = &page.nodes[at as usize];
            blocks.names.values.push(name(&node.tag.token()));
            blocks
                .names
                .values
                .extend(page.tokens_of(node).iter().map(name));
            at = node.parent;
        }
        blocks.names.end();
        let words = &measured.words.first[shape.first.0 as usize..shape.first.1 as usize];
        blocks
            .words
            .values
            .extend(words.iter().map(|&word| Linear::word_slot(word) as u32));
        blocks.words.end();
    }
    blocks
}

/// The rows of a page: those of the second stage where `said` (the first stage's probabilities) are given.
pub fn rows(page: &Page, linear: &Linear, said: Option<&[f32]>) -> Result<Rows, Error> {
    let (mut measured, mut rows) = (Measured::default(), Rows::default());
    first::features(page, linear, &mut measured, &mut rows);
    let Some(said) = said else {
        return Ok(rows);
    };
    if said.len() != page.blocks.len() {
        return Err(Error::Mismatch {
            given: said.len(),
            blocks: page.blocks.len(),
        });
    }
    let mut both = Rows::default();
    second::features(page, &measured, said, &rows, &mut both);
    Ok(both)
}
