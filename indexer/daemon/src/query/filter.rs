//! The tests of `find`, compiled. Those that need no row are apart: they refuse most names for free.

use record::{Category, Kind, Row};

use crate::query::glob::Glob;
use crate::query::{FindRequest, QueryError};

/// All tests of one request.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    name: Option<Glob>,
    iname: Option<Glob>,
    /// By number of the kind; `None` takes all.
    kinds: Option<[bool; Kind::ALL.len()]>,
    size: (u64, u64),
    newer: Option<i128>,
    older: Option<i128>,
    /// By number of the category; `None` takes all, and what has none.
    categories: Option<[bool; Category::ALL.len()]>,
    owner: Option<u32>,
    links: (u32, u32),
}

impl Filter {
    /// Compiles the tests of `request`.
    ///
    /// # Errors
    /// [`QueryError::Bad`] for a pattern or word that is none.
    pub(crate) fn new(request: &FindRequest) -> Result<Filter, QueryError> {
        let glob = |pattern: &Option<String>, fold| {
            pattern.as_deref().map(|pattern| Glob::new(pattern, fold)).transpose().map_err(QueryError::Bad)
        };
        Ok(Filter {
            name: glob(&request.name, false)?,
            iname: glob(&request.iname, true)?,
            kinds: request.kinds.as_deref().map(kinds).transpose()?,
            size: (request.min_size.unwrap_or(0), request.max_size.unwrap_or(u64::MAX)),
            newer: request.newer_ns.map(i128::from),
            older: request.older_ns.map(i128::from),
            categories: request.category.as_deref().map(categories).transpose()?,
            owner: request.owner,
            links: (request.min_links.unwrap_or(0), request.max_links.unwrap_or(u32::MAX)),
        })
    }

    /// Whether an entry of this name may match; `directory` is all that is known of it without its row.
    pub(crate) fn may_match(&self, name: &[u8], directory: bool) -> bool {
        let kind_fits = match &self.kinds {
            None => true,
            Some(kinds) if directory => kinds[Kind::Directory as usize],
            Some(kinds) => Kind::ALL.iter().any(|kind| *kind != Kind::Directory && kinds[*kind as usize]),
        };
        kind_fits
            && !(directory && self.categories.is_some())
            && self.name.as_ref().is_none_or(|glob| glob.matches(name))
            && self.iname.as_ref().is_none_or(|glob| glob.matches(name))
    }

    /// Whether the row passes the tests that need it.
    pub(crate) fn matches(&self, row: &Row) -> bool {
        let stat = &row.stat;
        self.kinds.is_none_or(|kinds| kinds[stat.kind as usize])
            && (self.size.0..=self.size.1).contains(&stat.size)
            && (self.links.0..=self.links.1).contains(&stat.links)
            && self.newer.is_none_or(|time| stat.modified.0 >= time)
            && self.older.is_none_or(|time| stat.modified.0 < time)
            && self.owner.is_none_or(|uid| stat.uid == uid)
            && self.categories.is_none_or(|wanted| row.category().is_some_and(|own| wanted[own as usize]))
    }
}

/// Letters as of find(1), or words.
fn kinds(text: &str) -> Result<[bool; Kind::ALL.len()], QueryError> {
    let mut kinds = [false; Kind::ALL.len()];
    for word in text.split(',') {
        let kind = match word {
            "f" => Some(Kind::File),
            "d" | "dir" => Some(Kind::Directory),
            "l" | "link" => Some(Kind::Symlink),
            "p" | "pipe" => Some(Kind::Fifo),
            "s" => Some(Kind::Socket),
            "b" => Some(Kind::Block),
            "c" => Some(Kind::Char),
            word => Kind::from_word(word),
        };
        let Some(kind) = kind else {
            return Err(QueryError::Bad(format!(
                "unknown kind {word:?}; write f d l p s b c, or file directory symlink fifo socket block char"
            )));
        };
        kinds[kind as usize] = true;
    }
    Ok(kinds)
}

fn categories(text: &str) -> Result<[bool; Category::ALL.len()], QueryError> {
    let mut categories = [false; Category::ALL.len()];
    for word in text.split(',') {
        let category = Category::from_word(word).ok_or_else(|| {
            let words = Category::ALL.map(Category::word).join(" ");
            QueryError::Bad(format!("unknown category {word:?}; write one of {words}, or several by commas"))
        })?;
        categories[category as usize] = true;
    }
    Ok(categories)
}
