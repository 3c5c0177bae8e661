//! Bindings of `curate_html`.

use std::sync::{Arc, OnceLock};

use arrow_array::builder::{
    Float32Builder, LargeListBuilder, LargeStringBuilder, StringBuilder, StructBuilder,
    UInt8Builder, UInt32Builder,
};
use arrow_array::types::{Float32Type, Int64Type, UInt32Type};
use arrow_array::{ArrayRef, LargeStringArray, StructArray, UInt32Array};
use arrow_schema::{DataType, Field, Fields};
use curate_html::{
    Comments, Extractor, Form, Format, Images, Links, Model, Policy, Settings, Typed, training,
};
use curate_text::{Cpu, Texts};
use pyo3::prelude::*;

use crate::arrow::{Column, Primitive, TextColumn, arrow_error};
use crate::errors::Error;

/// A column of pages, and the charset that was declared for each; an empty name stands for none.
struct Pages<'a> {
    pages: Texts<'a>,
    charsets: Texts<'a>,
}

impl<'a> Pages<'a> {
    fn new(pages: &'a TextColumn, charsets: &'a TextColumn) -> Result<Self, Error> {
        let (pages, charsets) = (pages.texts(), charsets.texts());
        if pages.len() == charsets.len() {
            Ok(Self { pages, charsets })
        } else {
            Err(Error::Lengths {
                pages: pages.len(),
                charsets: charsets.len(),
            })
        }
    }

    fn get(&self, row: usize) -> (&'a [u8], Option<&'a str>) {
        let charset = std::str::from_utf8(self.charsets.bytes(row)).ok();
        (
            self.pages.bytes(row),
            charset.filter(|name| !name.is_empty()),
        )
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a str>)> {
        (0..self.pages.len()).map(|row| self.get(row))
    }
}

/// The model of a file, or the one that comes with the package, which is read once.
fn with_model<T>(
    file: Option<Vec<u8>>,
    work: impl FnOnce(&Model) -> Result<T, Error>,
) -> Result<T, Error> {
    static BUILT_IN: OnceLock<Result<Model, curate_html::Error>> = OnceLock::new();
    match file {
        Some(file) => work(&Model::read(&file)?),
        None => work(
            BUILT_IN
                .get_or_init(Model::built_in)
                .as_ref()
                .map_err(Clone::clone)?,
        ),
    }
}

fn settings(format: &str, links: &str, images: &str, comments: &str) -> Result<Settings, Error> {
    let unknown = |setting, value: &str, known| Error::Choice {
        setting,
        value: value.to_owned(),
        known,
    };
    Ok(Settings {
        form: Form {
            format: match format {
                "text" => Format::Text,
                "markdown" => Format::Markdown,
                "blocks" => Format::Blocks,
                _ => return Err(unknown("format", format, "text, markdown, blocks")),
            },
            links: match links {
                "text" => Links::Text,
                "inline" => Links::Inline,
                "reference" => Links::Reference,
                "drop" => Links::Drop,
                _ => return Err(unknown("links", links, "text, inline, reference, drop")),
            },
            images: match images {
                "drop" => Images::Drop,
                "alt" => Images::Alt,
                "inline" => Images::Inline,
                _ => return Err(unknown("images", images, "drop, alt, inline")),
            },
        },
        comments: match comments {
            "keep" => Comments::Keep,
            "drop" => Comments::Drop,
            _ => return Err(unknown("comments", comments, "keep, drop")),
        },
    })
}

fn policies(names: &[String]) -> Result<Vec<Policy>, Error> {
    let policy = |name: &String| match name.as_str() {
        "balanced" => Ok(Policy::Balanced),
        "precision" => Ok(Policy::Precision),
        "recall" => Ok(Policy::Recall),
        _ => Err(Error::Choice {
            setting: "policies",
            value: name.clone(),
            known: "balanced, precision, recall",
        }),
    };
    names.iter().map(policy).collect()
}

/// The columns of one policy.
#[derive(Default)]
struct Version {
    text: LargeStringBuilder,
    score: Float32Builder,
    share: Float32Builder,
}

/// The main content of every page: text, score and share for each policy, the first by these names and the others with
/// `_policy` after them; title, language, page_type, page_type_score, encoding, n_replaced, and error, which is null
/// where nothing went wrong; with the format blocks also blocks, by the first policy.
#[pyfunction]
#[pyo3(signature = (
    pages, charsets, *, format = "text", links = "text", images = "drop", comments = "keep",
    policies = vec!["balanced".to_owned()], model = None
))]
#[allow(clippy::too_many_arguments)] // those of a function of Python
fn extract_html(
    py: Python<'_>,
    pages: TextColumn,
    charsets: TextColumn,
    format: &str,
    links: &str,
    images: &str,
    comments: &str,
    policies: Vec<String>,
    model: Option<Vec<u8>>,
) -> Result<Column, Error> {
    let (cpu, settings) = (Cpu::detect()?, settings(format, links, images, comments)?);
    let (names, policies) = (&policies, self::policies(&policies)?);
    let typed = settings.form.format == Format::Blocks;
    let mut blocks = typed.then(typed_builder);
    let pages = Pages::new(&pages, &charsets)?;
    let mut versions: Vec<Version> = policies.iter().map(|_| Version::default()).collect();
    let mut strings: [LargeStringBuilder; 4] = Default::default();
    let (mut sure, mut replaced) = (Float32Builder::new(), UInt32Builder::new());
    let mut errors = StringBuilder::new();
    py.detach(|| {
        with_model(model, |model| {
            let mut extractor = Extractor::new(model, cpu);
            for (page, charset) in pages.iter() {
                let found = extractor.extract(page, charset, settings, &policies);
                errors.append_option(found.as_ref().err().map(ToString::to_string));
                let mut found = found.unwrap_or_default();
                found.texts.resize(policies.len(), Default::default());
                for (column, version) in versions.iter_mut().zip(&found.texts) {
                    column.text.append_value(&version.text);
                    column.score.append_value(version.score);
                    column.share.append_value(version.share);
                }
                let values = [&found.title, &found.language, found.kind, found.encoding];
                for (column, value) in strings.iter_mut().zip(values) {
                    column.append_value(value);
                }
                sure.append_value(found.kind_score);
                replaced.append_value(found.n_replaced as u32);
                if let Some(blocks) = &mut blocks {
                    append_typed(blocks, &found.blocks);
                }
            }
            Ok(())
        })
    })?;
    let [title, language, kind, encoding] = strings.map(|mut s| Arc::new(s.finish()) as ArrayRef);
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    for (at, (version, policy)) in versions.iter_mut().zip(names).enumerate() {
        let made: [(&str, ArrayRef); 3] = [
            ("text", Arc::new(version.text.finish())),
            ("score", Arc::new(version.score.finish())),
            ("share", Arc::new(version.share.finish())),
        ];
        let named = |name: &str| match at {
            0 => name.to_owned(),
            _ => format!("{name}_{policy}"),
        };
        columns.extend(made.map(|(name, array)| (named(name), array, false)));
    }
    let about: [(&str, ArrayRef, bool); 7] = [
        ("title", title, false),
        ("language", language, false),
        ("page_type", kind, false),
        ("page_type_score", Arc::new(sure.finish()), false),
        ("encoding", encoding, false),
        ("n_replaced", Arc::new(replaced.finish()), false),
        ("error", Arc::new(errors.finish()), true),
    ];
    columns.extend(about.map(|(name, array, nullable)| (name.to_owned(), array, nullable)));
    if let Some(mut blocks) = blocks {
        columns.push(("blocks".to_owned(), Arc::new(blocks.finish()), false));
    }
    table(columns, pages.pages.len())
}

/// Of large_list<struct<kind: string, level: uint8, text: large_string, score: float32>>.
fn typed_builder() -> LargeListBuilder<StructBuilder> {
    let fields = vec![
        Field::new("kind", DataType::Utf8, false),
        Field::new("level", DataType::UInt8, false),
        Field::new("text", DataType::LargeUtf8, false),
        Field::new("score", DataType::Float32, false),
    ];
    LargeListBuilder::new(StructBuilder::from_fields(fields, 0))
}

fn append_typed(list: &mut LargeListBuilder<StructBuilder>, blocks: &[Typed]) {
    let row = list.values();
    for block in blocks {
        if let Some(kind) = row.field_builder::<StringBuilder>(0) {
            kind.append_value(block.kind);
        }
        if let Some(level) = row.field_builder::<UInt8Builder>(1) {
            level.append_value(block.level);
        }
        if let Some(text) = row.field_builder::<LargeStringBuilder>(2) {
            text.append_value(&block.text);
        }
        if let Some(score) = row.field_builder::<Float32Builder>(3) {
            score.append_value(block.score);
        }
        row.append(true);
    }
    list.append(true);
}

/// Every page decoded: text, encoding, n_replaced.
#[pyfunction]
fn decode_html(py: Python<'_>, pages: TextColumn, charsets: TextColumn) -> Result<Column, Error> {
    let pages = Pages::new(&pages, &charsets)?;
    let decoded: Vec<_> = py.detach(|| {
        pages
            .iter()
            .map(|(page, charset)| curate_html::decode(page, charset))
            .collect()
    });
    let columns: Vec<(String, ArrayRef, bool)> = vec![
        (
            "text".to_owned(),
            Arc::new(LargeStringArray::from_iter_values(
                decoded.iter().map(|d| &d.text),
            )),
            false,
        ),
        (
            "encoding".to_owned(),
            Arc::new(LargeStringArray::from_iter_values(
                decoded.iter().map(|d| d.encoding),
            )),
            false,
        ),
        (
            "n_replaced".to_owned(),
            Arc::new(UInt32Array::from_iter_values(
                decoded.iter().map(|d| d.n_replaced as u32),
            )),
            false,
        ),
    ];
    table(columns, decoded.len())
}

fn table(columns: Vec<(String, ArrayRef, bool)>, rows: usize) -> Result<Column, Error> {
    let fields: Fields = columns
        .iter()
        .map(|(name, array, nullable)| Field::new(name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    let table = StructArray::try_new_with_length(fields, arrays, None, rows);
    Ok(Column::new(table.map_err(arrow_error)?))
}

/// (text, path, first, probability, kept, unit, why, [(feature, value, moved)]) of every block of one page.
type Explained = Vec<(
    String,
    String,
    f32,
    f32,
    bool,
    String,
    String,
    Vec<(String, f32, f32)>,
)>;

/// What was decided about each block of a page, and by which features.
#[pyfunction]
#[pyo3(signature = (page, charset = None, *, comments = "keep", policy = "balanced", model = None))]
fn explain_html(
    py: Python<'_>,
    page: Vec<u8>,
    charset: Option<String>,
    comments: &str,
    policy: &str,
    model: Option<Vec<u8>>,
) -> Result<Explained, Error> {
    let (cpu, settings) = (Cpu::detect()?, settings("text", "text", "drop", comments)?);
    let policy = policies(&[policy.to_owned()])?[0];
    let decisions = py.detach(|| {
        with_model(model, |model| {
            Ok(Extractor::new(model, cpu).explain(&page, charset.as_deref(), settings, policy)?)
        })
    })?;
    Ok(decisions
        .into_iter()
        .map(|d| {
            let (said, why) = ((d.first, d.probability), (d.unit, d.why));
            (
                d.text, d.path, said.0, said.1, d.kept, why.0, why.1, d.reasons,
            )
        })
        .collect())
}

/// Name, unit and definition of every feature, in the order of the rows; the first stage's come first.
#[pyfunction]
fn html_features() -> Vec<(String, &'static str, &'static str)> {
    curate_html::features::all()
}

/// (blocks a page: int64, texts, names: large_list<uint32>, words: large_list<uint32>) of all pages, and what their
/// kinds are learned from: large_list<uint32>, one a page.
#[pyfunction]
fn html_blocks(
    py: Python<'_>,
    pages: TextColumn,
    charsets: TextColumn,
) -> Result<(Column, Column, Column, Column, Column), Error> {
    let pages = Pages::new(&pages, &charsets)?;
    let (mut counts, mut texts) = (Vec::new(), Vec::new());
    let (mut names, mut words) = ((vec![0], Vec::new()), (vec![0], Vec::new()));
    let mut kinds = (vec![0], Vec::new());
    py.detach(|| {
        for (page, charset) in pages.iter() {
            let blocks = training::blocks(&training::read(page, charset)?);
            counts.push(blocks.texts.len() as i64);
            texts.extend(blocks.texts);
            kinds.1.extend(blocks.page);
            kinds.0.push(kinds.1.len() as i64);
            for (all, lists) in [(&mut names, blocks.names), (&mut words, blocks.words)] {
                let base = all.1.len() as i64;
                all.0
                    .extend(lists.offsets[1..].iter().map(|offset| base + offset));
                all.1.extend(lists.values);
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok((
        Column::primitive::<Int64Type>(counts),
        Column::new(LargeStringArray::from_iter_values(texts)),
        Column::lists::<UInt32Type>(names.0, names.1)?,
        Column::lists::<UInt32Type>(words.0, words.1)?,
        Column::lists::<UInt32Type>(kinds.0, kinds.1)?,
    ))
}

/// The feature rows of all blocks of all pages, one after the other; the second stage's where `said` is given: the
/// first stage's probability of every block. `tables` are the weights of names, words and kinds as in a model file; without
/// any, all weigh nothing.
#[pyfunction]
#[pyo3(signature = (pages, charsets, tables = None, said = None))]
fn html_rows(
    py: Python<'_>,
    pages: TextColumn,
    charsets: TextColumn,
    tables: Option<Vec<u8>>,
    said: Option<Primitive<Float32Type>>,
) -> Result<Column, Error> {
    let pages = Pages::new(&pages, &charsets)?;
    let tables = match tables {
        None => training::Tables::default(),
        Some(tables) => training::Tables::read(&tables)?,
    };
    let said: Option<&[f32]> = said.as_deref();
    let values = py.detach(|| {
        let (mut values, mut at) = (Vec::new(), 0);
        for (page, charset) in pages.iter() {
            let page = training::read(page, charset)?;
            let n = page.blocks.len();
            let own = said.map(|said| &said[at.min(said.len())..(at + n).min(said.len())]);
            values.extend(training::rows(&page, &tables, own)?);
            at += n;
        }
        Ok::<_, Error>(values)
    })?;
    Ok(Column::primitive::<Float32Type>(values))
}

/// Adds the functions of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(extract_html, module)?)?;
    module.add_function(wrap_pyfunction!(decode_html, module)?)?;
    module.add_function(wrap_pyfunction!(explain_html, module)?)?;
    module.add_function(wrap_pyfunction!(html_features, module)?)?;
    module.add_function(wrap_pyfunction!(html_blocks, module)?)?;
    module.add_function(wrap_pyfunction!(html_rows, module)?)
}
