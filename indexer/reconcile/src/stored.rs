//! What a batch needs to know of the stored rows. The index implements it; tests do with a map.

use record::{EntryId, Name, Place, RootId, Row, Totals};

use crate::Detached;

/// Read access to the rows as last committed.
pub trait Stored {
    /// Why a read failed.
    type Error;

    /// The row of `id`.
    fn row(&self, id: EntryId) -> Result<Option<Row>, Self::Error>;
    /// Which entry is called `name` in `dir`.
    fn name(&self, dir: EntryId, name: &[u8]) -> Result<Option<EntryId>, Self::Error>;
    /// All names of an entry whose row says `many_names`.
    fn links(&self, id: EntryId) -> Result<Vec<Place>, Self::Error>;
    /// Where an entry without a name was called what, before another entry took that name.
    fn detached(&self, id: EntryId) -> Result<Option<Detached>, Self::Error>;
    /// The totals of a directory.
    fn totals(&self, dir: EntryId) -> Result<Option<Totals>, Self::Error>;
    /// At most `limit` names in `dir`, in byte order, those after `after`.
    fn children(
        &self,
        dir: EntryId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Name, EntryId)>, Self::Error>;
}

macro_rules! through {
    ($($pointer:ty),*) => {$(
        impl<T: Stored + ?Sized> Stored for $pointer {
            type Error = T::Error;

            fn row(&self, id: EntryId) -> Result<Option<Row>, T::Error> {
                (**self).row(id)
            }
            fn name(&self, dir: EntryId, name: &[u8]) -> Result<Option<EntryId>, T::Error> {
                (**self).name(dir, name)
            }
            fn links(&self, id: EntryId) -> Result<Vec<Place>, T::Error> {
                (**self).links(id)
            }
            fn detached(&self, id: EntryId) -> Result<Option<Detached>, T::Error> {
                (**self).detached(id)
            }
            fn totals(&self, dir: EntryId) -> Result<Option<Totals>, T::Error> {
                (**self).totals(dir)
            }
            fn children(
                &self,
                dir: EntryId,
                after: Option<&[u8]>,
                limit: usize,
            ) -> Result<Vec<(Name, EntryId)>, T::Error> {
                (**self).children(dir, after, limit)
            }
        }
    )*};
}
through!(&T, std::rc::Rc<T>);

/// A configured tree: where its records belong and what their paths begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its number.
    pub id: RootId,
    /// The directory it is configured at.
    pub top: EntryId,
    /// Its absolute path.
    pub path: Box<[u8]>,
}
