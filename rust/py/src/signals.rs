//! Bindings of `curate_signals`.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::types::{UInt8Type, UInt32Type};
use arrow_array::{ArrayRef, Float64Array, StructArray};
use arrow_schema::{DataType, Field};
use curate_signals::{LINE_RULES, LineRules, LinesOf, MEASURES, N_LINE_RULES, StopWords};
use curate_text::Cpu;
use pyo3::prelude::*;

use crate::arrow::{Column, Primitive, TextColumn, arrow_error};
use crate::errors::Error;

/// Gopher's stop words: list 0, which rows have unless they name another.
const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

/// The words of spaCy's English tokenizer. One call at a time uses it; others wait.
#[pyclass(frozen, module = "curate._rust")]
struct English(Mutex<curate_signals::English>);

#[pymethods]
impl English {
    #[new]
    #[pyo3(signature = (*, prefix, suffix, infix, url, special))]
    fn new(
        prefix: String,
        suffix: String,
        infix: String,
        url: String,
        special: Vec<(String, Vec<String>)>,
    ) -> Result<Self, Error> {
        let rules = curate_signals::EnglishRules {
            prefix,
            suffix,
            infix,
            url,
            special,
        };
        Ok(Self(Mutex::new(curate_signals::English::new(&rules)?)))
    }

    /// The words of one text.
    fn words(&self, text: &str) -> Vec<String> {
        let mut found = vec![];
        let mut english = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        english.words(text, &mut found);
        let word =
            |word: &curate_signals::Word| text[word.from as usize..word.to as usize].to_owned();
        found.iter().map(word).collect()
    }
}

/// The heuristic measures of every row: a struct of float64 fields, with units in the field metadata.
#[pyfunction]
#[pyo3(signature = (text, *, stop_words, list_of, english))]
fn signals(
    py: Python<'_>,
    text: TextColumn,
    stop_words: Vec<Vec<String>>,
    list_of: Primitive<UInt32Type>,
    english: Option<Bound<'_, English>>,
) -> Result<Column, Error> {
    let cpu = Cpu::detect()?;
    let rows = text.texts().len();
    let own = stop_words
        .iter()
        .map(|words| StopWords::new(words.iter().map(String::as_str)));
    let lists: Vec<_> = [StopWords::new(STOP_WORDS)]
        .into_iter()
        .chain(own)
        .collect();
    let english = english.as_ref().map(Bound::get);
    let columns = py.detach(|| {
        let mut english = english.map(|one| one.0.lock().unwrap_or_else(PoisonError::into_inner));
        let words = english.as_deref_mut();
        curate_signals::measure(text.texts(), &lists, &list_of, words, cpu)
    })?;
    let fields = MEASURES.iter().map(|measure| {
        let unit = [("unit".to_owned(), measure.unit.to_owned())];
        Field::new(measure.name, DataType::Float64, false).with_metadata(unit)
    });
    let arrays = columns
        .into_iter()
        .map(|column| Arc::new(Float64Array::from(column)) as ArrayRef);
    let table = StructArray::try_new_with_length(fields.collect(), arrays.collect(), None, rows);
    Ok(Column::new(table.map_err(arrow_error)?))
}

/// Name, unit and definition of every measure, in the order of the fields of `signals`.
#[pyfunction]
fn measures() -> Vec<(&'static str, &'static str, &'static str)> {
    MEASURES
        .iter()
        .map(|measure| (measure.name, measure.unit, measure.definition))
        .collect()
}

/// Columns of `cut_lines`: the texts left; row, start, end, rule and value of each cut; then one number a row each.
type Cut = (
    Column,
    (Column, Column, Column, Column, Column),
    (Column, Column, Column, Column),
);

/// The texts without the lines that rules cut, the cuts, and what the rules measure of each row.
#[pyfunction]
#[pyo3(signature = (text, *, whose, limits, lorem_ipsum, curly_bracket, english))]
fn cut_lines(
    py: Python<'_>,
    text: TextColumn,
    whose: &str,
    limits: Vec<(String, f64)>,
    lorem_ipsum: bool,
    curly_bracket: bool,
    english: Option<Bound<'_, English>>,
) -> Result<Cut, Error> {
    let cpu = Cpu::detect()?;
    let whose = match whose {
        "c4@tfds" => LinesOf::C4Tfds,
        "c4@datatrove" => LinesOf::C4Datatrove,
        "refinedweb@dclm" => LinesOf::RefinedWeb,
        _ => {
            return Err(Error::Choice {
                setting: "whose",
                value: whose.to_owned(),
                known: "c4@tfds, c4@datatrove, refinedweb@dclm",
            });
        }
    };
    let mut by_rule = [None; N_LINE_RULES];
    for (name, limit) in limits {
        let place = LINE_RULES.iter().position(|rule| rule.1 == name);
        let place = place.ok_or(Error::Choice {
            setting: "a rule on lines",
            value: name,
            known: "the names that line_rules() gives",
        })?;
        by_rule[place] = Some(limit);
    }
    let rules = LineRules {
        whose,
        limits: by_rule,
        lorem_ipsum,
        curly_bracket,
    };
    let english = english.as_ref().map(Bound::get);
    let cuts = py.detach(|| {
        let mut english = english.map(|one| one.0.lock().unwrap_or_else(PoisonError::into_inner));
        curate_signals::cut_lines(text.texts(), &rules, english.as_deref_mut(), cpu)
    })?;
    let numbers = |values: Vec<f64>| Column::new(Float64Array::from(values));
    Ok((
        Column::strings(cuts.offsets, cuts.values)?,
        (
            Column::primitive::<UInt32Type>(cuts.row),
            Column::primitive::<UInt32Type>(cuts.start),
            Column::primitive::<UInt32Type>(cuts.end),
            Column::primitive::<UInt8Type>(cuts.rule),
            Column::new(Float64Array::from(cuts.value)),
        ),
        (
            numbers(cuts.n_sentences),
            numbers(cuts.lorem_ipsum),
            numbers(cuts.curly_bracket),
            numbers(cuts.removed_word_share),
        ),
    ))
}

/// Names of the rules on lines, by number.
#[pyfunction]
fn line_rules() -> Vec<&'static str> {
    LINE_RULES.iter().map(|rule| rule.1).collect()
}

/// Adds the functions and classes of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<English>()?;
    module.add_function(wrap_pyfunction!(signals, module)?)?;
    module.add_function(wrap_pyfunction!(measures, module)?)?;
    module.add_function(wrap_pyfunction!(cut_lines, module)?)?;
    module.add_function(wrap_pyfunction!(line_rules, module)?)
}
