//! Bindings of `curate_decontam`.

use arrow_array::BooleanArray;
use arrow_array::types::{Float64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use curate_decontam::{
    Aligned, Columns, Counting, Found, Index, Ngrams, Phrases, Place, Postings, Seeding, Sources,
};
use pyo3::prelude::*;

use crate::arrow::{Column, Lists, Primitive, TextColumn};
use crate::errors::Error;

/// What `find` gives: row, item, score, limit, evidence, sure, start, end.
type FoundColumns = (
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
);

/// The index of items: question, frequency, option, answer, gram, item, place, state, word, items.
type IndexColumns = (
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
    Column,
);

/// Indexes benchmark items by the n-grams of their questions and options, or (`ngrams`) of one text each.
#[pyfunction]
#[pyo3(signature = (question, option, option_count, answer, *, n, max_items, ngrams))]
#[allow(clippy::too_many_arguments)]
fn index_items(
    py: Python<'_>,
    question: TextColumn,
    option: TextColumn,
    option_count: Primitive<UInt32Type>,
    answer: TextColumn,
    n: usize,
    max_items: usize,
    ngrams: bool,
) -> Result<IndexColumns, Error> {
    let sources = Sources {
        questions: question.texts(),
        options: option.texts(),
        option_counts: &option_count,
        answers: answer.texts(),
    };
    let seeding = if ngrams {
        Seeding::Ngrams
    } else {
        Seeding::Aligned
    };
    let index = py.detach(|| Index::new(sources, n, seeding, max_items))?;
    Ok((
        Column::lists::<UInt32Type>(index.question_offsets.clone(), index.questions)?,
        Column::lists::<UInt16Type>(index.question_offsets, index.frequencies)?,
        Column::lists::<UInt32Type>(index.option_offsets, index.options)?,
        Column::lists::<UInt32Type>(index.answer_offsets, index.answers)?,
        Column::primitive::<UInt64Type>(index.grams),
        Column::lists::<UInt32Type>(index.posting_offsets.clone(), index.items)?,
        Column::lists::<UInt16Type>(index.posting_offsets, index.places)?,
        Column::primitive::<UInt8Type>(index.states),
        Column::primitive::<UInt32Type>(index.vocabulary),
        Column::primitive::<UInt32Type>(index.document_frequencies),
    ))
}

/// In how many stretches of 200 words each of `words` stands, and how many stretches there are.
#[pyfunction]
fn count_stretches(
    py: Python<'_>,
    text: TextColumn,
    words: Primitive<UInt32Type>,
) -> Result<(Column, u32), Error> {
    let (counts, stretches) =
        py.detach(|| curate_decontam::count_stretches(text.texts(), &words))?;
    Ok((Column::primitive::<UInt32Type>(counts), stretches))
}

/// The weight of each word in 1/256 bit, from its frequency in `items` items and `stretches` stretches of documents.
#[pyfunction]
#[pyo3(signature = (in_items, in_stretches, *, items, stretches))]
fn word_weights(
    py: Python<'_>,
    in_items: Primitive<UInt32Type>,
    in_stretches: Primitive<UInt32Type>,
    items: u32,
    stretches: u32,
) -> Column {
    let weights =
        py.detach(|| curate_decontam::weights(&in_items, items, &in_stretches, stretches));
    Column::primitive::<UInt16Type>(weights)
}

fn columns_of(found: Found) -> FoundColumns {
    (
        Column::primitive::<UInt32Type>(found.rows),
        Column::primitive::<UInt32Type>(found.items),
        Column::primitive::<Float64Type>(found.scores),
        Column::primitive::<Float64Type>(found.limits),
        Column::primitive::<Float64Type>(found.evidence),
        Column::new(BooleanArray::from(found.sure)),
        Column::primitive::<UInt32Type>(found.starts),
        Column::primitive::<UInt32Type>(found.ends),
    )
}

/// n-grams and their postings.
struct Grams {
    gram: Primitive<UInt64Type>,
    item: Lists<UInt32Type>,
    place: Lists<UInt16Type>,
}

impl Grams {
    fn postings(&self) -> Postings<'_> {
        Postings {
            grams: &self.gram,
            offsets: self.item.offsets(),
            items: self.item.values(),
            places: self.place.values(),
        }
    }
}

/// The words of items and their n-grams.
struct Items {
    question: Lists<UInt32Type>,
    frequency: Lists<UInt16Type>,
    option: Lists<UInt32Type>,
    option_count: Primitive<UInt32Type>,
    answer: Lists<UInt32Type>,
    grams: Grams,
}

impl Items {
    fn columns(&self) -> Columns<'_> {
        Columns {
            question_offsets: self.question.offsets(),
            questions: self.question.values(),
            frequencies: self.frequency.values(),
            option_counts: &self.option_count,
            option_offsets: self.option.offsets(),
            options: self.option.values(),
            answer_offsets: self.answer.offsets(),
            answers: self.answer.values(),
            postings: self.grams.postings(),
        }
    }
}

/// The rule of seeds and alignment, opened once a worker; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct AlignedFinder {
    items: Items,
    rule: Aligned,
}

#[pymethods]
impl AlignedFinder {
    #[new]
    #[pyo3(signature = (question, frequency, option, option_count, answer, gram, item, place, word, weight, *, n))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        question: Lists<UInt32Type>,
        frequency: Lists<UInt16Type>,
        option: Lists<UInt32Type>,
        option_count: Primitive<UInt32Type>,
        answer: Lists<UInt32Type>,
        gram: Primitive<UInt64Type>,
        item: Lists<UInt32Type>,
        place: Lists<UInt16Type>,
        word: Primitive<UInt32Type>,
        weight: Primitive<UInt16Type>,
        n: usize,
    ) -> Result<Self, Error> {
        let items = Items {
            question,
            frequency,
            option,
            option_count,
            answer,
            grams: Grams { gram, item, place },
        };
        let rule = py.detach(|| Aligned::new(items.columns(), &word, &weight, n))?;
        Ok(Self { items, rule })
    }

    /// Every item that the rule finds, the best of each span.
    fn find(&self, py: Python<'_>, text: TextColumn) -> Result<FoundColumns, Error> {
        let found = py.detach(|| self.rule.find(self.items.columns(), text.texts()))?;
        Ok(columns_of(found))
    }
}

/// A rule that counts n-grams, opened once a worker; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct NgramFinder {
    grams: Grams,
    length: Primitive<UInt32Type>,
    rule: Ngrams,
}

#[pymethods]
impl NgramFinder {
    #[new]
    #[pyo3(signature = (gram, item, place, length, *, n, counting, share))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        gram: Primitive<UInt64Type>,
        item: Lists<UInt32Type>,
        place: Lists<UInt16Type>,
        length: Primitive<UInt32Type>,
        n: usize,
        counting: &str,
        share: f64,
    ) -> Result<Self, Error> {
        let counting = match counting {
            "any" => Counting::Any,
            "words" => Counting::Words(share),
            "grams" => Counting::Grams(share),
            "paragraph" => Counting::Paragraph(share),
            _ => {
                return Err(Error::Choice {
                    setting: "counting",
                    value: counting.to_string(),
                    known: "any, words, grams, paragraph",
                });
            }
        };
        let grams = Grams { gram, item, place };
        let rule = py.detach(|| Ngrams::new(grams.postings(), &length, n, counting))?;
        Ok(Self {
            grams,
            length,
            rule,
        })
    }

    /// Every item that the rule finds.
    fn find(&self, py: Python<'_>, text: TextColumn) -> Result<FoundColumns, Error> {
        let found = py.detach(|| {
            self.rule
                .find(self.grams.postings(), &self.length, text.texts())
        })?;
        Ok(columns_of(found))
    }
}

/// Hashes of the word n-grams of every row in reading order: large_list<uint64>.
#[pyfunction]
#[pyo3(signature = (text, *, n))]
fn ngram_hashes(py: Python<'_>, text: TextColumn, n: usize) -> Result<Column, Error> {
    let (offsets, values) = py.detach(|| curate_decontam::ngram_hashes(text.texts(), n))?;
    Ok(Column::lists::<UInt64Type>(offsets, values)?)
}

/// Word n-grams to look for, opened once a worker; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct PhraseFinder(Phrases);

#[pymethods]
impl PhraseFinder {
    #[new]
    #[pyo3(signature = (grams, *, n))]
    fn new(grams: Primitive<UInt64Type>, n: usize) -> Result<Self, Error> {
        Ok(Self(Phrases::new(grams.to_vec(), n)?))
    }

    /// Every place with one of the n-grams: (row, gram, start, end), all uint32.
    fn find(
        &self,
        py: Python<'_>,
        text: TextColumn,
    ) -> Result<(Column, Column, Column, Column), Error> {
        let places = py.detach(|| self.0.find(text.texts()))?;
        let column = |value: fn(&Place) -> u32| {
            Column::primitive::<UInt32Type>(places.iter().map(value).collect())
        };
        Ok((
            column(|place| place.row),
            column(|place| place.gram),
            column(|place| place.start),
            column(|place| place.end),
        ))
    }
}

/// Adds the functions and classes of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<AlignedFinder>()?;
    module.add_class::<NgramFinder>()?;
    module.add_class::<PhraseFinder>()?;
    module.add_function(wrap_pyfunction!(ngram_hashes, module)?)?;
    module.add_function(wrap_pyfunction!(index_items, module)?)?;
    module.add_function(wrap_pyfunction!(count_stretches, module)?)?;
    module.add_function(wrap_pyfunction!(word_weights, module)?)
}
