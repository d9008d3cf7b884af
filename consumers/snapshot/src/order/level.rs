//! One directory on the way down: its names in the order of their texts, and the directories among them whose turn is to come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use record::EntryId;

use super::{Mark, PAGE, Tree, escaped};

/// A name in a directory. Ordered by its text first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Child {
    text: String,
    /// Its bytes, where they are not UTF-8.
    raw: Option<Box<[u8]>>,
    pub(super) id: EntryId,
    pub(super) directory: bool,
}

impl Child {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }

    pub(super) fn is_escaped(&self) -> bool {
        self.raw.is_some()
    }

    /// Whether all below it sorts before its sibling `name`.
    fn is_below_before(&self, name: &str) -> bool {
        self.text.bytes().chain([b'/']).lt(name.bytes())
    }
}

/// What comes next.
pub(super) enum Next {
    /// A name.
    Name(Child),
    /// All below a directory that was named.
    Below(Child),
    /// Nothing.
    End,
}

pub(super) struct Level {
    pub(super) dir: EntryId,
    pub(super) mark: Mark,
    /// Names that are their own text.
    page: VecDeque<Child>,
    /// Where the next page begins, if there may be one.
    after: Option<Box<[u8]>>,
    /// All others.
    escaped: BinaryHeap<Reverse<Child>>,
    /// Named, and not yet gone into: the last has its turn first.
    waiting: Vec<Child>,
}

impl Level {
    pub(super) fn enter<T: Tree>(tree: &T, dir: EntryId, mark: Mark) -> Result<Level, T::Error> {
        let mut level = Level {
            dir,
            mark,
            page: VecDeque::new(),
            after: None,
            escaped: BinaryHeap::new(),
            waiting: Vec::new(),
        };
        let Level { page, after, escaped: others, .. } = &mut level;
        tree.names(dir, None, &mut |name, id, directory| {
            match text_of(name) {
                Ok(text) if page.len() < PAGE => {
                    page.push_back(Child { text: text.to_owned(), raw: None, id, directory });
                    if page.len() == PAGE {
                        *after = Some(name.into());
                    }
                }
                // It comes with a later page; here only the others are looked for.
                Ok(_) => {}
                Err(text) => others.push(Reverse(Child { text, raw: Some(name.into()), id, directory })),
            }
            true
        })?;
        Ok(level)
    }

    pub(super) fn wait(&mut self, child: Child) {
        self.waiting.push(child);
    }

    pub(super) fn next<T: Tree>(&mut self, tree: &T) -> Result<Next, T::Error> {
        if self.page.is_empty()
            && let Some(after) = self.after.take()
        {
            self.turn_page(tree, &after)?;
        }
        // A sibling is called as the escaped name is written: that one moves on, to where nobody is.
        while let (Some(plain), Some(Reverse(other))) = (self.page.front(), self.escaped.peek())
            && plain.text == other.text
            && let Some(Reverse(mut other)) = self.escaped.pop()
        {
            other.text.push('\\');
            self.escaped.push(Reverse(other));
        }
        let plain_first = match (self.page.front(), self.escaped.peek()) {
            (Some(plain), Some(Reverse(other))) => plain.text < other.text,
            (plain, _) => plain.is_some(),
        };
        let name =
            if plain_first { self.page.front() } else { self.escaped.peek().map(|Reverse(child)| child) };
        let turn = match (self.waiting.last(), name) {
            (Some(waiting), Some(name)) => waiting.is_below_before(&name.text),
            (waiting, None) => waiting.is_some(),
            (None, Some(_)) => false,
        };
        if turn {
            return Ok(self.waiting.pop().map_or(Next::End, Next::Below));
        }
        let name =
            if plain_first { self.page.pop_front() } else { self.escaped.pop().map(|Reverse(child)| child) };
        Ok(name.map_or(Next::End, Next::Name))
    }

    fn turn_page<T: Tree>(&mut self, tree: &T, after: &[u8]) -> Result<(), T::Error> {
        let Level { page, after: next, .. } = self;
        tree.names(self.dir, Some(after), &mut |name, id, directory| {
            if let Ok(text) = text_of(name) {
                page.push_back(Child { text: text.to_owned(), raw: None, id, directory });
            }
            if page.len() == PAGE {
                *next = Some(name.into());
            }
            page.len() < PAGE
        })
    }
}

/// The text that a name is, or that stands for it.
fn text_of(name: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(name) {
        Ok(text) => Ok(text),
        Err(_) => Err(escaped(name).unwrap_or_default()),
    }
}
