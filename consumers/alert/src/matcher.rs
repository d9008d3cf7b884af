//! Whether a record is one that a rule looks for. Knows no clock and sends nothing; remembers which new files are unfinished.

use std::collections::HashMap;

use record::{Body, Category, Change, EntryId, Kind, Op, Record, Time};

use crate::rule::Conditions;

/// Unfinished new files that are remembered; one more is told of at once.
const MOST_UNFINISHED: usize = 16_384;

/// Words of records that are not about an entry.
const OTHER_OPS: [&str; 5] = ["gap", "root_lost", "root_found", "seeded", "duplicate"];

/// All words that a rule may look for.
pub fn ops() -> impl Iterator<Item = &'static str> {
    Op::ALL.into_iter().map(Op::word).chain(OTHER_OPS)
}

/// The word of [`ops`] that `text` is.
#[must_use]
pub fn op(text: &str) -> Option<&'static str> {
    ops().find(|word| *word == text)
}

/// The category called `text`.
///
/// # Errors
/// Which words there are.
pub fn category(text: &str) -> Result<Category, String> {
    let words = || Category::ALL.map(Category::word).join(", ");
    Category::from_word(text).ok_or_else(|| format!("unknown category {text:?}, expected {}", words()))
}

/// What rules ask of a record. A new kind of record gets its line here.
struct Facts<'a> {
    word: &'static str,
    path: &'a [u8],
    old_path: Option<&'a [u8]>,
    /// The other paths it is about.
    more: &'a [Box<[u8]>],
    /// Size and category, of a regular file.
    file: Option<(u64, Category)>,
}

fn facts(body: &Body) -> Facts<'_> {
    let about = |word, path| Facts { word, path, old_path: None, more: &[], file: None };
    match body {
        Body::Change(change) => Facts {
            old_path: change.old_path.as_deref(),
            file: file(change),
            ..about(change.op.word(), &change.path)
        },
        Body::Gap(gap) => about("gap", &gap.scope),
        Body::RootLost { path, .. } => about("root_lost", path),
        Body::RootFound { path } => about("root_found", path),
        Body::Seeded(seeded) => about("seeded", &seeded.path),
        Body::Duplicates(set) => {
            let path = set.paths.first().map_or(&b""[..], |path| path);
            let name = path.rsplit(|byte| *byte == b'/').next();
            Facts {
                more: &set.paths,
                file: Some((set.size, Category::of(name, None))),
                ..about("duplicate", path)
            }
        }
    }
}

/// As it is now, or as it was if it is gone.
fn file(change: &Change) -> Option<(u64, Category)> {
    let state = change.after.as_ref().or(change.before.as_ref())?;
    // Records that are older than categories have none.
    let category = || {
        state.category.unwrap_or_else(|| Category::of(change.at.as_ref().map(|place| &place.name[..]), None))
    };
    (state.stat.kind == Kind::File).then(|| (state.stat.size, category()))
}

/// The conditions of a rule, and what they need to remember.
pub(crate) struct Matcher {
    conditions: Conditions,
    /// New files that a writer is still at, of which index, and their birth.
    unfinished: HashMap<(u32, EntryId), Option<Time>>,
}

impl Matcher {
    pub(crate) fn new(conditions: Conditions) -> Matcher {
        Matcher { conditions, unfinished: HashMap::new() }
    }

    /// Whether [`Matcher::look`] answers by what came before: then it must see that again after a restart.
    pub(crate) fn remembers(&self) -> bool {
        !self.conditions.unfinished && self.wants("created")
    }

    fn wants(&self, word: &str) -> bool {
        self.conditions.ops.contains(&word)
    }

    /// The word by which the rule looks for this record, if it does.
    ///
    /// A file that is made or written and not closed is told of by the record that completes it: of its size and
    /// content nothing can be said before. That record is `modified`; it counts as `created` when the file is new. `whose` says of
    /// which index it is, where there are several.
    pub(crate) fn look(&mut self, whose: u32, record: &Record) -> Option<&'static str> {
        let Body::Change(change) = &record.body else {
            if matches!(&record.body, Body::Duplicates(set) if set.copies < 2 || set.copies <= set.were) {
                // A set that shrank is no news of a duplicate.
                return None;
            }
            let facts = facts(&record.body);
            return self.judge(facts.word, &facts);
        };
        let mut word = change.op.word();
        if !self.conditions.unfinished {
            match change.op {
                Op::Created | Op::Modified if !change.complete => {
                    let new = change.op == Op::Created && self.wants("created");
                    if !new || self.remember(whose, change) {
                        return None;
                    }
                }
                // An inode number is reused at once; another birth is another file.
                Op::Modified if self.unfinished.remove(&(whose, change.entry)) == Some(change.birth) => {
                    word = Op::Created.word();
                }
                Op::Deleted => drop(self.unfinished.remove(&(whose, change.entry))),
                _ => {}
            }
        }
        self.judge(word, &facts(&record.body))
    }

    /// That this one is new and unfinished; false when there is no room for it.
    fn remember(&mut self, whose: u32, change: &Change) -> bool {
        let room = self.unfinished.len() < MOST_UNFINISHED;
        if room {
            self.unfinished.insert((whose, change.entry), change.birth);
        }
        room
    }

    fn judge(&self, word: &'static str, facts: &Facts<'_>) -> Option<&'static str> {
        let Conditions { paths, at_least, at_most, categories, .. } = &self.conditions;
        let size = facts.file.map(|(size, _)| size);
        let fits = paths.as_ref().is_none_or(|paths| {
            paths.matches(facts.path)
                || facts.old_path.is_some_and(|old| paths.matches(old))
                || facts.more.iter().any(|more| paths.matches(more))
        }) && at_least.is_none_or(|least| size.is_some_and(|size| size >= least))
            && at_most.is_none_or(|most| size.is_some_and(|size| size <= most))
            && (categories.is_empty()
                || facts.file.is_some_and(|(_, category)| categories.contains(&category)));
        // The end of a new file's writing is both.
        [word, facts.word].into_iter().find(|word| self.wants(word)).filter(|_| fits)
    }
}

#[cfg(test)]
mod tests;
