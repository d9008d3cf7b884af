//! Roots that are not there: lost, looked for, found again, or believed as they are.

use std::time::Instant;

use index::Message;
use record::{Body, How, Time, VolumeId};
use tracing::{info, warn};

use super::core::Core;
use super::error::EngineError;
use super::sweeping::background::Why;
use super::sweeping::outside;

impl Core {
    /// After an error on a volume: whether the roots on it are still what they were.
    pub(crate) fn check_presence(&mut self, volume: VolumeId, why: &str) -> Result<(), EngineError> {
        for at in self.trees_on(volume) {
            if self.trees[at].present && !self.is_there(at)? {
                warn!(root = %self.trees[at].display(), why, "an error on its volume");
                self.trees[at].present = false;
                self.tell_lost(at)?;
            }
        }
        Ok(())
    }

    /// Looks whether lost roots are back, and whether roots are still there. True if one is back.
    pub(crate) fn look_for_lost(&mut self) -> Result<bool, EngineError> {
        let mut back = false;
        for at in 0..self.trees.len() {
            let there = self.is_there(at)?;
            match (self.trees[at].present, there) {
                (false, true) => {
                    self.welcome_back(at)?;
                    back = true;
                }
                (true, false) => {
                    self.trees[at].present = false;
                    self.tell_lost(at)?;
                }
                // Another reason by now, such as another disk in its place.
                (false, false) => {
                    let why = self.trees[at].why_lost(&self.shared);
                    if self.trees[at].row.lost.as_ref() != Some(&why) {
                        warn!(root = %self.trees[at].display(), why, "the root is still lost");
                        self.trees[at].row.lost = Some(why);
                        self.show_root(at, "lost");
                        self.store_roots()?;
                    }
                }
                (true, true) => {}
            }
        }
        Ok(back)
    }

    fn is_there(&self, at: usize) -> Result<bool, EngineError> {
        let tree = &self.trees[at];
        let Ok((_, seen)) = tree.scope.open() else { return Ok(false) };
        if tree.scope.root_entry() != Some(tree.row.top) {
            return Ok(false);
        }
        self.shared.is_same_directory(tree.row.top, &seen.stat)
    }

    fn welcome_back(&mut self, at: usize) -> Result<(), EngineError> {
        let tree = &mut self.trees[at];
        tree.present = true;
        tree.row.lost = None;
        info!(root = %tree.display(), "the root is back");
        let body = Body::RootFound { path: tree.row.path.clone() };
        let message = Message { seen: Time::now(), how: How::Sweep, root: tree.row.id, body };
        let (scope, from) = (tree.row.path.clone(), tree.row.verified);
        self.say(message)?;
        self.shared.arms.forget_dead();
        self.show_root(at, "sweeping");
        // What lost its last name while the root was out of sight was kept for it.
        for id in self.shared.index.read()?.all_detached()? {
            if self.held.iter().all(|(held, _)| held.id != id) {
                self.held.push((reconcile::Held { id, place: None }, Instant::now()));
            }
        }
        self.sweep_tree(at, Why::Start)?;
        self.work_off(None)?;
        if self.followed.contains(&self.trees[at].row.id) {
            self.tell_gap(at, &scope, from, "the root was lost")?;
        }
        self.show_root(at, "live");
        self.store_roots()
    }

    pub(crate) fn tell_lost(&mut self, at: usize) -> Result<(), EngineError> {
        let why = self.trees[at].why_lost(&self.shared);
        // Where the gap will begin when it is back.
        self.verify_watched_tree(at, self.drained);
        self.trees[at].row.lost = Some(why.clone());
        let id = self.trees[at].row.id;
        let stored = self.shared.index.read()?.roots()?;
        let told = stored.iter().any(|row| row.id == id && row.lost.is_some());
        if !told {
            warn!(root = %self.trees[at].display(), why, "the root is lost; its rows are kept");
            let body = Body::RootLost { path: self.trees[at].row.path.clone(), why: why.clone() };
            self.say(Message { seen: Time::now(), how: How::Sweep, root: id, body })?;
        }
        self.show_root(at, "lost");
        self.store_roots()
    }

    /// Believes what is at a root's path now: the old rows go, with their records, and it is scanned anew.
    pub(crate) fn accept(&mut self, path: &[u8]) -> Result<(), EngineError> {
        let Some(at) = self.trees.iter().position(|tree| tree.row.path[..] == *path) else {
            return if self.give_up(path)? { Ok(()) } else { Err(outside(path)) };
        };
        if self.trees[at].present {
            return Ok(());
        }
        let opened = self.trees[at].scope.open();
        let (Ok(_), Some(top)) = (&opened, self.trees[at].scope.root_entry()) else {
            return Err(EngineError::Root {
                path: self.trees[at].display(),
                why: self.trees[at].why_lost(&self.shared),
            });
        };
        let old = self.trees[at].row.top;
        self.held.push((reconcile::Held { id: old, place: None }, Instant::now()));
        self.work_off(None)?;
        let tree = &mut self.trees[at];
        tree.row.top = top;
        tree.row.lost = None;
        tree.row.seeded = None;
        tree.row.verified = Time(0);
        tree.present = true;
        self.tops = self.trees.iter().map(super::roots::Tree::root).collect();
        self.seed(&[at])?;
        self.work_off(None)?;
        self.show_root(at, "live");
        self.store_roots()
    }
}
