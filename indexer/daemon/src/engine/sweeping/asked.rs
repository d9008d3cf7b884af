//! Sweeps that somebody asked for and waits for: by the socket, or in a process that does nothing else.

use std::time::Instant;

use super::background::{Asker, Ticket, Why};
use super::{MOST_ASTRAY, compare, outside};
use crate::engine::config::Level;
use crate::engine::core::Core;
use crate::engine::error::EngineError;
use crate::engine::shared::Reply;
use crate::engine::status::SweepReport;
use record::How;

impl Core {
    /// Sweeps for somebody who waits for what came of it: every tree, or the part of one below `path`.
    pub(crate) fn ask_sweep(
        &mut self,
        path: Option<&[u8]>,
        level: Level,
        reply: Reply<SweepReport>,
    ) -> Result<(), EngineError> {
        let before = self.shared.index.read()?.seq()?.0;
        let mut failed = Vec::new();
        let trees = match path {
            None => {
                let lost = self.trees.iter().filter(|tree| !tree.present);
                failed.extend(lost.map(|tree| (tree.display(), tree.row.lost.clone().unwrap_or_default())));
                (0..self.trees.len()).filter(|at| self.trees[*at].present).collect()
            }
            Some(path) => match self.start_of(path)? {
                Ok(at) => vec![at],
                Err(error) => {
                    let _ = reply.send(Err(error));
                    return Ok(());
                }
            },
        };
        let began = Instant::now();
        let mut tickets = Vec::new();
        for at in trees {
            tickets.push(self.order(at, path, level, How::Sweep, Why::Asked)?);
        }
        let report = SweepReport::default();
        let one = path.is_some();
        self.sweeps.askers.push(Asker { tickets, reply, began, before, report, one, failed, ended: None });
        Ok(())
    }

    /// Sweeps and returns when what was found is durable, for a process that does nothing else.
    pub(crate) fn sweep_once(
        &mut self,
        path: Option<&[u8]>,
        level: Level,
    ) -> Result<SweepReport, EngineError> {
        self.shared.set_view(|view| view.state = "sweeping");
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.ask_sweep(path, level, reply)?;
        let tickets: Vec<Ticket> =
            self.sweeps.askers.iter().flat_map(|asker| asker.tickets.iter().copied()).collect();
        self.wait_for_sweeps(&tickets, None)?;
        self.work_off(None)?;
        let askers = std::mem::take(&mut self.sweeps.askers);
        self.answer(askers)?;
        answer.try_recv().unwrap_or(Err(EngineError::Stopped))
    }

    /// The tree that a sweep from `path` is of, or why there is none to be made.
    fn start_of(&self, path: &[u8]) -> Result<Result<usize, EngineError>, EngineError> {
        let Some(at) = self.tree_of(path) else { return Ok(Err(outside(path))) };
        let tree = &self.trees[at];
        if !tree.present {
            let why = format!("is lost: {}", tree.row.lost.as_deref().unwrap_or_default());
            return Ok(Err(EngineError::Root { path: tree.display(), why }));
        }
        let error = match compare::begin(&self.shared, &self.trees[at].scope, Some(path))? {
            Ok(_) => return Ok(Ok(at)),
            Err(why) => why,
        };
        Ok(Err(EngineError::Root { path: String::from_utf8_lossy(path).into_owned(), why: error }))
    }

    /// Answers those whose sweeps are done, when what these found is durable.
    pub(crate) fn answer_sweeps(&mut self) -> Result<(), EngineError> {
        let mut askers = std::mem::take(&mut self.sweeps.askers);
        let ready = askers.extract_if(.., |asker| {
            if !asker.tickets.is_empty() {
                return false;
            }
            let ended = *asker.ended.get_or_insert_with(Instant::now);
            self.is_worked_off(ended) && (self.astray.is_empty() || ended.elapsed() > MOST_ASTRAY)
        });
        let ready: Vec<Asker> = ready.collect();
        self.sweeps.askers = askers;
        if !ready.is_empty() {
            // Whoever asks next is told of it.
            self.note_compared();
        }
        self.answer(ready)
    }

    /// Whether the hints that were pending at `since` have been looked at, and what came of that is in the index.
    pub(super) fn is_worked_off(&self, since: Instant) -> bool {
        self.shared.pending.oldest().is_none_or(|oldest| oldest > since)
            && self.todo.is_empty()
            && self.held.iter().all(|(_, at)| *at > since)
    }

    pub(super) fn answer(&self, askers: Vec<Asker>) -> Result<(), EngineError> {
        if askers.is_empty() {
            return Ok(());
        }
        let seq = self.shared.index.read()?.seq()?.0;
        for asker in askers {
            let took_ms = u64::try_from(asker.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let mut failed = asker.failed;
            let answer = match failed.pop() {
                Some((path, why)) if asker.one => Err(EngineError::Root { path, why }),
                last => {
                    failed.extend(last);
                    let failed = failed.into_iter().map(|(path, why)| format!("{path}: {why}")).collect();
                    Ok(SweepReport { records: seq - asker.before, took_ms, failed, ..asker.report })
                }
            };
            let _ = asker.reply.send(answer);
        }
        Ok(())
    }
}
