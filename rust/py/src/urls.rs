//! Bindings of `curate_urls`.

use arrow_array::StringArray;
use arrow_array::types::Int32Type;
use curate_urls::{Address, Kind, Lists, site};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::arrow::{Column, TextColumn};
use crate::errors::Error;

/// Lists of domains, addresses and words. Opened once a worker; it releases the GIL; threads may share it.
#[pyclass(frozen, module = "curate._rust")]
struct UrlLists {
    lists: Lists,
    added: Vec<(usize, usize, usize)>,
}

fn kind_of(name: &str) -> Result<Kind, Error> {
    Ok(match name {
        "domains" => Kind::Domains,
        "urls" => Kind::Urls,
        "adblock" => Kind::Adblock,
        "words" => Kind::Words,
        "subwords" => Kind::Subwords,
        "soft_words" => Kind::SoftWords,
        _ => {
            return Err(Error::Choice {
                setting: "kind",
                value: name.to_owned(),
                known: "domains, urls, adblock, words, subwords, soft_words",
            });
        }
    })
}

#[pymethods]
impl UrlLists {
    #[new]
    #[pyo3(signature = (files, *, min_soft_words))]
    fn new(
        py: Python<'_>,
        files: Vec<(String, PyBackedBytes)>,
        min_soft_words: usize,
    ) -> Result<Self, Error> {
        py.detach(|| {
            let mut lists = Lists::new(min_soft_words);
            let mut added = Vec::new();
            for (kind, file) in &files {
                let counts = lists.add(kind_of(kind)?, file)?;
                added.push((counts.entries, counts.suffixes, counts.unread));
            }
            lists.build()?;
            Ok::<Self, Error>(Self { lists, added })
        })
    }

    #[getter]
    fn added(&self) -> Vec<(usize, usize, usize)> {
        self.added.clone()
    }

    fn find(&self, py: Python<'_>, urls: TextColumn) -> Result<(Column, Column), Error> {
        let hits = py.detach(|| self.lists.find_all(urls.texts()))?;
        let lists = hits
            .iter()
            .map(|hit| hit.as_ref().map_or(-1, |hit| hit.list as i32));
        let entries: StringArray = hits
            .iter()
            .map(|hit| hit.as_ref().map(|hit| hit.entry.as_str()))
            .collect();
        Ok((
            Column::primitive::<Int32Type>(lists.collect()),
            Column::new(entries),
        ))
    }
}

/// The site of every address, by the public suffix list: string, empty where an address has no host.
#[pyfunction]
fn url_sites(py: Python<'_>, urls: TextColumn) -> Result<Column, Error> {
    let sites: StringArray = py.detach(|| {
        let texts = urls.texts();
        let site_of = |url: &str| {
            Address::parse(url).map_or(String::new(), |address| site(&address.host).to_owned())
        };
        let sites = (0..texts.len()).map(|row| Ok(Some(site_of(texts.text(row)?))));
        sites.collect::<Result<_, curate_text::Error>>()
    })?;
    Ok(Column::new(sites))
}

/// Adds the function and the class of this file to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<UrlLists>()?;
    module.add_function(wrap_pyfunction!(url_sites, module)?)
}
