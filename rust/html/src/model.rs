//! The trained model as one small file: three tables of learned weights and two forests.

use crate::Error;
use crate::bytes::Bytes;
use crate::features::{first, second};
use crate::kinds::KindTable;
use crate::linear::Linear;
use crate::trees::Forest;

/// Begins every model file; the last byte is the version of the format.
const MAGIC: &[u8] = b"curate-html\x02";

static BUILT_IN: &[u8] = include_bytes!("../model/extractor.bin");

/// What decides which blocks are content.
#[derive(Clone, Debug)]
pub struct Model {
    /// Weights of names and words.
    pub linear: Linear,
    /// Weights of what a page has, for each kind of page.
    pub kinds: KindTable,
    /// Decides by a block and what stands around it.
    pub first: Forest,
    /// Decides again, knowing what the first said of the others.
    pub second: Forest,
}

impl Model {
    /// The model that comes with this crate; `model/CARD.md` says what it was trained on.
    pub fn built_in() -> Result<Self, Error> {
        Self::read(BUILT_IN)
    }

    /// A model from a file's bytes.
    pub fn read(file: &[u8]) -> Result<Self, Error> {
        let Some(body) = file.strip_prefix(MAGIC) else {
            return Err(Error::Model {
                what: "it does not begin with the mark of an extractor model of this version"
                    .to_owned(),
            });
        };
        let mut bytes = Bytes::new(body);
        let linear = Linear::read(&mut bytes)?;
        let kinds = KindTable::read(&mut bytes)?;
        let n_first = first::names().len();
        let first = Forest::read(&mut bytes, n_first)?;
        let second = Forest::read(&mut bytes, n_first + second::names().len())?;
        if !bytes.is_empty() {
            return Err(Error::Model {
                what: "it goes on after its end".to_owned(),
            });
        }
        Ok(Self {
            linear,
            kinds,
            first,
            second,
        })
    }
}
