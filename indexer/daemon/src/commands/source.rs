//! Where answers come from: the daemon when one runs on the state folder, the index itself otherwise.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use index::{Index, OpenError, Reader};
use record::wire::v1;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::Client;
use crate::commands::Context;
use crate::engine::NobodyWatches;
use crate::failure::Failure;
use crate::query::{
    self, BetweenRequest, ChangesRequest, Coverage, CoverageRequest, DuRequest, DupsRequest, Emit,
    FindRequest, LookupRequest, PathRequest, QueryError, ReplayLine, ReplayRequest, RootLine, RootView,
    RottenLine, SnapshotRequest,
};
use crate::render::Out;
use crate::state::StateDir;

/// Records read at a time without a daemon.
const RECORDS: usize = 1024;

/// Frames of a snapshot between reading and writing without a daemon; reading waits when so many do.
const FRAMES: usize = 8;

/// How long a daemon that has just opened the index may take until it answers.
const STARTING: Duration = Duration::from_secs(5);

/// One answer: a line of JSON from the daemon, or a value read here.
pub(crate) enum Answer<'a, T> {
    /// From the daemon.
    Line(&'a [u8]),
    /// Read here.
    Value(T),
    /// None: all that has come so far is passed on.
    Pause,
}

impl<T: Serialize> Answer<'_, T> {
    /// Writes it as a line of JSON.
    pub(crate) fn print(&self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Answer::Line(line) => out.line(line)?,
            Answer::Value(value) => out.json(value)?,
            Answer::Pause => out.flush()?,
        }
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned> Answer<'_, T> {
    /// Writes it as JSON, or keeps it for a table. True if it was one.
    pub(crate) fn print_or_keep(self, json: bool, out: &mut Out, kept: &mut Vec<T>) -> Result<bool, Failure> {
        let some = !matches!(self, Answer::Pause);
        match self {
            answer if json => answer.print(out)?,
            Answer::Line(line) => kept.push(
                serde_json::from_slice(line)
                    .map_err(|error| Failure::doing("read the daemon's answer", error))?,
            ),
            Answer::Value(value) => kept.push(value),
            Answer::Pause => {}
        }
        Ok(some)
    }
}

/// Called with each answer; answers false for no more.
pub(crate) type Each<'a, T> = &'a mut dyn FnMut(Answer<'_, T>) -> Result<bool, Failure>;

/// Where answers come from.
pub(crate) enum Source {
    /// The daemon.
    Daemon(Client),
    /// The index.
    Local(Arc<Index>),
}

impl Source {
    /// The daemon on the state folder, if one runs there.
    ///
    /// # Errors
    /// When a process holds the folder and does not answer.
    pub(crate) fn daemon(state: &StateDir) -> Result<Option<Client>, Failure> {
        if let Some(client) = Client::connect(&state.socket_path())? {
            return Ok(Some(client));
        }
        match state.daemon_pid() {
            None => Ok(None),
            Some(pid) => Err(Failure::Failed(format!(
                "process {pid} holds the state folder {} and answers no questions; wait for its end if it is a \
                 scan, or stop it",
                crate::paths::shown(&state.path)
            ))),
        }
    }

    /// The daemon, or the index opened for reading.
    ///
    /// # Errors
    /// When there is neither.
    pub(crate) fn open(context: &Context) -> Result<Source, Failure> {
        let state = context.state()?;
        let until = Instant::now() + STARTING;
        loop {
            if let Some(client) = Source::daemon(&state)? {
                return Ok(Source::Daemon(client));
            }
            match Index::open_read_only(&state.index_path(), context.settings()?.index()) {
                // A daemon has just started.
                Err(OpenError::InUse(_)) if Instant::now() < until => {}
                opened => return Ok(Source::Local(Arc::new(opened?))),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A source of the same answers that can be asked while this one is being read.
    ///
    /// # Errors
    /// When the daemon has gone.
    pub(crate) fn another(&self) -> Result<Source, Failure> {
        match self {
            Source::Daemon(client) => client.another().map(Source::Daemon),
            Source::Local(index) => Ok(Source::Local(Arc::clone(index))),
        }
    }

    /// The roots and their rules.
    pub(crate) fn roots(&mut self) -> Result<Vec<RootView>, Failure> {
        let lines: Vec<RootLine> = match self {
            Source::Daemon(client) => client.get("/v1/roots")?,
            Source::Local(index) => query::roots(&index.read()?)?,
        };
        lines.into_iter().map(RootLine::view).collect::<Result<_, _>>().map_err(Failure::from)
    }

    /// See [`query::find`].
    pub(crate) fn find(&mut self, request: &FindRequest, each: Each<'_, v1::Entry>) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/find", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::find(reader, request, emit)),
        }
    }

    /// See [`query::replay`].
    pub(crate) fn replay(
        &mut self,
        request: &ReplayRequest,
        each: Each<'_, ReplayLine>,
    ) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/replay", request, lines)),
            Source::Local(index) => {
                let origin = crate::relaying::origin(format!("{:032x}", index.epoch()?));
                local(index, each, |reader, emit| query::replay(reader, &origin, request, emit))
            }
        }
    }

    /// See [`query::snapshot`]: pieces of its stream.
    pub(crate) fn snapshot(
        &mut self,
        request: &SnapshotRequest,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let index = match self {
            Source::Daemon(client) => return client.bytes("/v1/snapshot", request, each),
            Source::Local(index) => index,
        };
        let origin = crate::relaying::origin(format!("{:032x}", index.epoch()?));
        let reader = index.read()?;
        // Reading and writing go on side by side, as they do with a daemon.
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(FRAMES);
            let (index, reader) = (&*index, &reader);
            let read = scope.spawn(move || {
                query::snapshot(index, reader, &origin, request, &mut |frame| sender.send(frame).is_ok())
            });
            let written = receiver.iter().try_for_each(|frame: Vec<u8>| each(&frame));
            drop(receiver);
            let read = read.join().map_err(|_| Failure::Failed("the reader of the index died".to_owned()))?;
            written.and_then(|()| read.map_err(Failure::from))
        })
    }

    /// See [`query::between`]: pieces of its stream.
    pub(crate) fn between(
        &mut self,
        request: &BetweenRequest,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let index = match self {
            Source::Daemon(client) => return client.bytes("/v1/between", request, each),
            Source::Local(index) => index,
        };
        let origin = crate::relaying::origin(format!("{:032x}", index.epoch()?));
        let mut done = Ok(());
        query::between(&index.read()?, &origin, request, &mut |frame| {
            done = each(&frame);
            done.is_ok()
        })?;
        done
    }

    /// See [`query::ls`].
    pub(crate) fn ls(&mut self, request: &PathRequest, each: Each<'_, v1::Entry>) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/ls", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::ls(reader, request, emit)),
        }
    }

    /// See [`query::du`].
    pub(crate) fn du(&mut self, request: &DuRequest, each: Each<'_, v1::Du>) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/du", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::du(reader, request, emit)),
        }
    }

    /// See [`query::du_by`].
    pub(crate) fn du_by(
        &mut self,
        request: &DuRequest,
        each: Each<'_, v1::DuCategory>,
    ) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/du", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::du_by(reader, request, emit)),
        }
    }

    /// See [`query::dups`].
    pub(crate) fn dups(
        &mut self,
        request: &DupsRequest,
        each: Each<'_, v1::Duplicates>,
    ) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/dups", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::dups(reader, request, emit)),
        }
    }

    /// See [`query::rotten`].
    pub(crate) fn rotten(&mut self, each: Each<'_, RottenLine>) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/rotten", &(), lines)),
            Source::Local(index) => local(index, each, |reader, emit| query::rotten(reader, emit)),
        }
    }

    /// See [`query::coverage`]. Without a daemon nothing is kept true.
    pub(crate) fn coverage(
        &mut self,
        request: &CoverageRequest,
        each: Each<'_, Coverage>,
    ) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => from_lines(each, |lines| client.lines("/v1/coverage", request, lines)),
            Source::Local(index) => local(index, each, |reader, emit| {
                let nobody = NobodyWatches::new(reader)?;
                query::coverage(reader, &nobody, request, emit)
            }),
        }
    }

    /// See [`query::look_up`].
    pub(crate) fn look_up(
        &mut self,
        request: &LookupRequest,
        each: Each<'_, Option<v1::Entry>>,
    ) -> Result<(), Failure> {
        match self {
            Source::Daemon(client) => {
                from_lines(each, |lines| client.post_lines("/v1/lookup", request, lines))
            }
            Source::Local(index) => local(index, each, |reader, emit| query::look_up(reader, request, emit)),
        }
    }

    /// Records as `request` asks for them. `follow` takes a daemon.
    pub(crate) fn changes(
        &mut self,
        request: &ChangesRequest,
        each: Each<'_, v1::Change>,
    ) -> Result<(), Failure> {
        let index = match self {
            Source::Daemon(client) => {
                return from_lines(each, |lines| client.lines("/v1/changes", request, lines));
            }
            Source::Local(index) => index,
        };
        let reader = index.read()?;
        let mut after = query::start(&reader, request)?;
        let mut left = request.limit.unwrap_or(u64::MAX);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(RECORDS);
            let batch = query::batch(&reader, request, after, most)?;
            left -= batch.changes.len() as u64;
            for change in batch.changes {
                if !each(Answer::Value(change))? {
                    return Ok(());
                }
            }
            each(Answer::Pause)?;
            if batch.end {
                break;
            }
            after = batch.last;
        }
        Ok(())
    }
}

fn from_lines<T>(
    each: Each<'_, T>,
    ask: impl FnOnce(&mut dyn FnMut(Option<&[u8]>) -> Result<bool, Failure>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    ask(&mut |line| each(line.map_or(Answer::Pause, Answer::Line)))
}

fn local<T>(
    index: &Index,
    each: Each<'_, T>,
    ask: impl FnOnce(&Reader, Emit<'_, T>) -> Result<(), QueryError>,
) -> Result<(), Failure> {
    let mut failed = None;
    let reader = index.read()?;
    ask(&reader, &mut |value| match each(Answer::Value(value)) {
        Ok(more) => more,
        Err(failure) => {
            failed = Some(failure);
            false
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// Asks by each spelling of `path` until one is in the index; `None` asks once.
///
/// # Errors
/// That of the first spelling when none is.
pub(crate) fn by_spelling(
    path: Option<&Path>,
    mut ask: impl FnMut(Option<&[u8]>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(path) = path else { return ask(None) };
    let mut first = None;
    for spelling in crate::paths::spellings(path)? {
        match ask(Some(&spelling)) {
            Err(failure @ Failure::NotIndexed(_)) => first = first.or(Some(failure)),
            other => return other,
        }
    }
    first.map_or(Ok(()), Err)
}
