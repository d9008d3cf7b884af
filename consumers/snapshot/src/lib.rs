//! The index as Parquet: which columns, in what order, in which file, folder or object store, and how it gets there whole or not at
//! all. Knows `record`, Parquet and files of its own; no index and no daemon: rows come in from whoever has them.

mod address;
mod aside;
pub mod changes;
mod columns;
pub mod ddl;
pub mod delta;
mod diff;
mod entry;
mod error;
mod export;
mod keep;
mod manifest;
mod oneshot;
mod order;
mod place;
mod random;
mod read;
mod receive;
mod report;
pub mod shelf;
mod sort;
#[cfg(feature = "object-store")]
mod store;
#[cfg(not(feature = "object-store"))]
#[path = "no_store.rs"]
mod store;
mod stream;
mod text;
mod write;

pub use address::Address;
pub use aside::put;
pub use columns::{Columns, Owners};
pub use diff::{COMPARED, Change, Each, Fields, MOST_WAITING, Next, Op, State, Sum, Summary, diff};
pub use entry::{Entry, Facts, Moment, RootHead};
pub use error::SnapshotError;
pub use export::{Export, ExportError, Exported, Key, Server, Table, Watcher};
pub use keep::Keep;
pub use manifest::{Manifest, ManifestFile};
pub use oneshot::{
    Begin, Chunk, Chunks, Collected, Collector, Frontier, Names, OneFile, Output, Pace, Unit, Way,
};
pub use order::{Spot, Tree, Visit, in_order};
pub use place::{Place, date};
pub use read::{Column, Day, Found, Head, Line, Lines, NodeId, Part, ReadError, Reader, Unframed, find};
pub use receive::{Finished, Receiver, Written};
pub use report::{By, Growth, Lacks, Page, REPORTED, Report, Reports, Rest, Shape, Value, page_to_parquet};
pub use shelf::Shelved;
pub use stream::{Emit, Ending, Frame, Frames, Garbled, Rows, Teller, failed};
pub use text::{name_text, path_text};
pub use write::Form;
