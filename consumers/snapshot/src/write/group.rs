//! One row group: its columns are shared out among threads, which encode them as rows come. Knows no file.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::errors::ParquetError;

use super::{GROUP, GROUP_BYTES};
use crate::columns::Columns;

/// Batches that wait for a thread; whoever makes them waits when so many do.
const WAITING: usize = 2;

type Arrays = Arc<Vec<ArrayRef>>;

/// A column and who encodes it.
type Owned = (usize, ArrowColumnWriter);

type Encoded = Result<Vec<(usize, ArrowColumnChunk)>, ParquetError>;

pub(super) struct Group {
    threads: Vec<(SyncSender<Arrays>, JoinHandle<Encoded>)>,
    columns: usize,
    rows: usize,
    bytes: usize,
}

impl Group {
    pub(super) fn begin(
        writers: Vec<ArrowColumnWriter>,
        columns: Columns,
        threads: NonZeroUsize,
    ) -> Result<Group, ParquetError> {
        let count = writers.len();
        let mut group = Group { threads: Vec::new(), columns: count, rows: 0, bytes: 0 };
        for share in shares(writers, columns, threads) {
            let (sender, receiver) = sync_channel(WAITING);
            let schema = columns.schema();
            let thread = std::thread::Builder::new()
                .name("encode".to_owned())
                .spawn(move || encode(share, &schema, &receiver))
                .map_err(|error| ParquetError::External(Box::new(error)))?;
            group.threads.push((sender, thread));
        }
        Ok(group)
    }

    /// Takes a batch; answers whether the group is full.
    pub(super) fn push(&mut self, arrays: Vec<ArrayRef>, rows: usize, bytes: usize) -> bool {
        let arrays = Arc::new(arrays);
        for (sender, _) in &self.threads {
            // A thread that failed has gone; it says why at the end, and the end is now.
            if sender.send(Arc::clone(&arrays)).is_err() {
                return true;
            }
        }
        self.rows += rows;
        self.bytes += bytes;
        self.rows >= GROUP || self.bytes >= GROUP_BYTES
    }

    /// Waits for all columns; they come in the order of the schema.
    pub(super) fn end(self) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        let mut chunks: Vec<Option<ArrowColumnChunk>> = (0..self.columns).map(|_| None).collect();
        let mut failed = None;
        let (senders, threads): (Vec<_>, Vec<_>) = self.threads.into_iter().unzip();
        drop(senders);
        for thread in threads {
            let encoded =
                thread.join().unwrap_or_else(|_| Err(ParquetError::General("an encoder died".into())));
            match encoded {
                Ok(encoded) => encoded.into_iter().for_each(|(at, chunk)| chunks[at] = Some(chunk)),
                Err(error) => failed = Some(error),
            }
        }
        match (failed, chunks.into_iter().collect()) {
            (Some(error), _) => Err(error),
            (None, Some(chunks)) => Ok(chunks),
            (None, None) => Err(ParquetError::General("a column was not encoded".into())),
        }
    }
}

fn encode(mut share: Vec<Owned>, schema: &SchemaRef, batches: &Receiver<Arrays>) -> Encoded {
    for arrays in batches {
        for (at, writer) in &mut share {
            for leaf in compute_leaves(schema.field(*at), &arrays[*at])? {
                writer.write(&leaf)?;
            }
        }
    }
    share.into_iter().map(|(at, writer)| Ok((at, writer.close()?))).collect()
}

/// Columns by thread: the hardest first, each to whoever has least to do.
fn shares(writers: Vec<ArrowColumnWriter>, columns: Columns, threads: NonZeroUsize) -> Vec<Vec<Owned>> {
    let threads = threads.get().min(writers.len());
    let mut shares: Vec<(u32, Vec<Owned>)> = (0..threads).map(|_| (0, Vec::new())).collect();
    let mut owned: Vec<(u32, Owned)> = writers
        .into_iter()
        .enumerate()
        .map(|(at, writer)| (columns.specs()[at].sort.effort(), (at, writer)))
        .collect();
    owned.sort_by_key(|(effort, _)| std::cmp::Reverse(*effort));
    for (effort, one) in owned {
        if let Some((sum, share)) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += effort;
            share.push(one);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}
