//! What sort of thing a file is: by the extension of its name, then by its first bytes. Opens no file: callers bring both.

mod extension;
mod magic;

use extension::Says;

/// A coarse sort of content, for reports and filters. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Category {
    /// Still pictures.
    Photo = 0,
    /// Moving pictures.
    Video = 1,
    /// Sound.
    Music = 2,
    /// Texts, tables, slides, books.
    Document = 3,
    /// Packed and compressed files, packages, disk images.
    Archive = 4,
    /// Program sources, and the data that stands among them (JSON, YAML).
    Code = 5,
    /// Everything else.
    Other = 6,
}

impl Category {
    /// All of them, in the order of their numbers.
    pub const ALL: [Category; 7] = [
        Category::Photo,
        Category::Video,
        Category::Music,
        Category::Document,
        Category::Archive,
        Category::Code,
        Category::Other,
    ];

    /// How many of a file's first bytes [`Category::by_magic`] looks at, at most.
    pub const HEAD: usize = magic::HEAD;

    /// What the extension of `name` says, in its most common meaning; `None` when there is none, or it is not in the table.
    /// Upper and lower case are alike.
    #[must_use]
    pub fn by_extension(name: &[u8]) -> Option<Category> {
        match extension::says(name)? {
            Says::Surely(category) | Says::Mostly(category) => Some(category),
        }
    }

    /// Whether the first bytes of a file called `name` may say more than its name: the extension says nothing, or means two
    /// things.
    #[must_use]
    pub fn needs_magic(name: &[u8]) -> bool {
        !matches!(extension::says(name), Some(Says::Surely(_)))
    }

    /// What the first bytes of a file say; `None` when they are not known for anything. The first [`Category::HEAD`] bytes
    /// are enough, and fewer say less.
    #[must_use]
    pub fn by_magic(head: &[u8]) -> Option<Category> {
        magic::says(&head[..head.len().min(Category::HEAD)])
    }

    /// The category of a regular file with this first name, if it has any, and with what its first bytes said, if they were
    /// looked at.
    #[must_use]
    pub fn of(name: Option<&[u8]>, magic: Option<Category>) -> Category {
        let magic = magic.filter(|magic| *magic != Category::Other);
        match name.and_then(extension::says) {
            Some(Says::Surely(category)) => category,
            Some(Says::Mostly(category)) => magic.unwrap_or(category),
            None => magic.unwrap_or(Category::Other),
        }
    }

    /// The word used in JSON and on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Category::Photo => "photo",
            Category::Video => "video",
            Category::Music => "music",
            Category::Document => "document",
            Category::Archive => "archive",
            Category::Code => "code",
            Category::Other => "other",
        }
    }

    /// The category called `word`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.word() == word)
    }
}

#[cfg(test)]
mod tests;
