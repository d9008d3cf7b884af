//! First scans: the walk of new roots into one load.

use std::sync::{Mutex, PoisonError};

use index::{Edits, Seed, SeedRoot};
use record::{Body, How, Time};
use tracing::info;

use super::core::Core;
use super::error::EngineError;
use super::round::Todo;
use super::seed::SeedVisitor;

impl Core {
    /// Scans trees for the first time, all into one load.
    pub(crate) fn seed(&mut self, trees: &[usize]) -> Result<(), EngineError> {
        let seed = Seed::begin(self.shared.state_dir.join("seed"), self.config.seed_buffer)?;
        let walked = scan::Progress::default();
        let mut blind = Vec::new();
        for at in trees {
            self.show_root(*at, "seeding");
            let tree = &self.trees[*at];
            info!(root = %tree.display(), "first scan begins");
            let visitor = SeedVisitor {
                root: tree.row.id,
                seed: &seed,
                arms: self.config.arms(&self.shared),
                blind: Mutex::default(),
                unlisted: Mutex::default(),
                failed: Mutex::default(),
                stop: &self.shared.stop,
                clock: &*self.shared.ground.clock,
            };
            let start = scan::Start::root(&tree.scope).map_err(|error| walk_error(tree, &error))?;
            let result = self.with_progress("scanning", &walked, || {
                scan::walk(&tree.scope, start, self.config.threads, &visitor, &self.shared.stop, &walked)
            });
            if let Some(error) = visitor.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(error.into());
            }
            match result {
                Ok(()) => {}
                Err(scan::WalkError::Stopped) => return Err(EngineError::Stopped),
                Err(error) => return Err(walk_error(tree, &error)),
            }
            let unlisted = visitor.unlisted.into_inner().unwrap_or_else(PoisonError::into_inner);
            // They moved under the scan; where something watches, its events say where to.
            for id in unlisted {
                let how = self.shared.arms.get(id.volume).map_or(How::Scan, |arm| arm.how());
                self.todo.push_back(Todo::List(id, false, how));
            }
            blind.append(&mut visitor.blind.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        let seen = Time::now();
        let roots = trees.iter().map(|at| SeedRoot { row: self.trees[*at].row.clone(), seen }).collect();
        let edits = Edits { volumes: self.shared.volumes.take_unsaved(), ..Edits::default() };
        let records =
            self.with_progress("loading", &walked, || self.shared.index.load(seed, roots, edits))?;
        for record in &records {
            if let Body::Seeded(seeded) = &record.body
                && let Some(tree) = self.trees.iter_mut().find(|tree| tree.row.id == record.root)
            {
                tree.row.seeded = Some(record.seq);
                info!(root = %tree.display(), entries = seeded.entries, seq = record.seq.0, "first scan is stored");
            }
            self.shared.durable.send_replace(record.seq.0);
        }
        self.note_blind(blind, &[])
    }
}

fn walk_error(tree: &super::roots::Tree, error: &scan::WalkError) -> EngineError {
    EngineError::Root { path: tree.display(), why: error.to_string() }
}
