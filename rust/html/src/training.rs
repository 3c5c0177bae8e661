//! What training needs of pages, from the code that extraction runs: blocks, tokens and rows.

use crate::Error;
use crate::bytes::Bytes;
use crate::decode::decode;
use crate::features::measured::Measured;
use crate::features::{first, second};
use crate::kinds::{KindTable, each_token};
use crate::linear::Linear;
use crate::page::{NONE, Page};
use crate::tokenizer::parse;
use crate::units::Units;

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
    /// Hashes of the names around each block, those of inline elements at its start first.
    pub names: Lists,
    /// Hashes of its first words.
    pub words: Lists,
    /// What the kind of the page is learned from, in rising order.
    pub page: Vec<u32>,
}

/// The tables of weights that rows are made with.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Those of names and words.
    pub linear: Linear,
    /// Those of the kinds of pages.
    pub kinds: KindTable,
}

impl Tables {
    /// The tables of names, of words and of kinds, one after the other as in a model file.
    pub fn read(file: &[u8]) -> Result<Self, Error> {
        let mut bytes = Bytes::new(file);
        Ok(Self {
            linear: Linear::read(&mut bytes)?,
            kinds: KindTable::read(&mut bytes)?,
        })
    }
}

/// Reads a page as extraction does.
pub fn read(bytes: &[u8], declared: Option<&str>) -> Result<Page, Error> {
    parse(&decode(bytes, declared).text)
}

/// The blocks of a page.
pub fn blocks(page: &Page) -> Blocks {
    let mut measured = Measured::default();
    measured.measure(page, &Linear::untrained());
    let mut blocks = Blocks {
        texts: (0..page.blocks.len())
            .map(|block| page.text_of(block).into_owned())
            .collect(),
        names: Lists::new(),
        words: Lists::new(),
        page: Vec::new(),
    };
    each_token(page, |token| blocks.page.push(token));
    blocks.page.sort_unstable();
    blocks.page.dedup();
    for (block, shape) in page.blocks.iter().zip(&measured.shapes) {
        let own = &page.tokens[block.tokens.start as usize..block.tokens.end as usize];
        blocks.names.values.extend(own);
        let mut at = block.node;
        while at != NONE {
            let node = &page.nodes[at as usize];
            blocks.names.values.push(node.tag.token());
            blocks.names.values.extend(page.tokens_of(node));
            at = node.parent;
        }
        blocks.names.end();
        let words = &measured.words.first[shape.first.0 as usize..shape.first.1 as usize];
        blocks.words.values.extend(words);
        blocks.words.end();
    }
    blocks
}

/// The rows of a page, one after the other: those of the second stage where `said` (the first stage's
/// probabilities) are given.
pub fn rows(page: &Page, tables: &Tables, said: Option<&[f32]>) -> Result<Vec<f32>, Error> {
    let n = page.blocks.len();
    if let Some(said) = said.filter(|said| said.len() != n) {
        return Err(Error::Mismatch {
            given: said.len(),
            blocks: n,
        });
    }
    let mut rows = Vec::new();
    if n == 0 {
        return Ok(rows);
    }
    let mut measured = Measured::default();
    measured.measure(page, &tables.linear);
    let kinds = tables.kinds.kinds(page);
    let first = first::View::new(page, &tables.linear, &measured, &kinds);
    let units = Units::of(page);
    let second = said.map(|said| second::View::new(page, &measured, &units, said));
    for block in 0..n {
        first.write(block, &mut rows);
        if let Some(second) = &second {
            second.write(block, &mut rows);
        }
    }
    Ok(rows)
}
