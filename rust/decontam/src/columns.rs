//! An index as slices, wherever its columns lie.

use crate::Error;

/// An index as slices; they are described at `Index`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Columns<'a> {
    pub question_offsets: &'a [i64],
    pub questions: &'a [u32],
    pub frequencies: &'a [u16],
    pub option_counts: &'a [u32],
    pub option_offsets: &'a [i64],
    pub options: &'a [u32],
    pub answer_offsets: &'a [i64],
    pub answers: &'a [u32],
    pub postings: Postings<'a>,
}

/// n-grams and where they stand, as slices; they are described at `Index`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Postings<'a> {
    pub grams: &'a [u64],
    pub offsets: &'a [i64],
    pub items: &'a [u32],
    pub places: &'a [u16],
}

impl<'a> Postings<'a> {
    /// Every posting is of one of `items` items.
    pub(crate) fn check(self, items: usize) -> Result<(), Error> {
        let wanted = self.offsets.last().map_or(0, |&end| end as usize);
        equal("gram", self.grams.len() + 1, self.offsets.len())?;
        equal("item", self.items.len(), wanted)?;
        equal("place", self.places.len(), wanted)?;
        let most = self.items.iter().max().map_or(0, |&item| item as usize + 1);
        equal("items", most.max(items), items)
    }

    /// (item, place) of every posting of an n-gram.
    #[inline]
    pub(crate) fn of(self, gram: usize) -> impl Iterator<Item = (u32, usize)> + 'a {
        let range = self.offsets[gram] as usize..self.offsets[gram + 1] as usize;
        let places = self.places[range.clone()]
            .iter()
            .map(|&place| usize::from(place));
        self.items[range].iter().copied().zip(places)
    }
}

impl Columns<'_> {
    /// The columns belong together, so that no place in one is outside of another.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let items = self.option_counts.len();
        let options: usize = self.option_counts.iter().map(|&count| count as usize).sum();
        equal("question", self.question_offsets.len(), items + 1)?;
        equal("frequency", self.frequencies.len(), self.questions.len())?;
        equal("option", self.option_offsets.len(), options + 1)?;
        equal("answer", self.answer_offsets.len(), items + 1)?;
        self.postings.check(items)
    }
}

pub(crate) fn equal(column: &'static str, found: usize, wanted: usize) -> Result<(), Error> {
    if found == wanted {
        Ok(())
    } else {
        Err(Error::Column {
            column,
            found,
            wanted,
        })
    }
}
