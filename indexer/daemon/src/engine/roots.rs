//! The configured trees at run time: their rows, scopes and state.

use std::sync::Arc;

use index::RootRow;
use reconcile::Root;
use record::{EntryId, RootId, Time};
use scan::{Rules, Scope};

use super::config::{RootConfig, StoredRules};
use super::error::EngineError;
use super::shared::Shared;

/// One tree.
pub(crate) struct Tree {
    pub(crate) row: RootRow,
    pub(crate) scope: Arc<Scope>,
    /// The directory it is at now is the one it was seeded at.
    pub(crate) present: bool,
}

impl Tree {
    /// Binds a configured root to its row, or to a new one (not stored yet).
    pub(crate) fn bind(
        shared: &Arc<Shared>,
        config: &RootConfig,
        known: &[RootRow],
        next: &mut u32,
    ) -> Result<Tree, EngineError> {
        let display = String::from_utf8_lossy(&config.path).into_owned();
        let root_error = |why: String| EngineError::Root { path: display.clone(), why };
        let stored = known.iter().find(|row| row.path[..] == config.path[..]).cloned();
        let id = stored.as_ref().map_or_else(
            || {
                *next += 1;
                RootId(*next)
            },
            |row| row.id,
        );
        let binder = {
            let shared = Arc::clone(shared);
            Box::new(move |identity: &scan::VolumeIdentity, device| shared.volumes.bind(identity, device))
        };
        let mut scope = Scope::on(Arc::clone(&shared.ground.disk), id, config.path.clone(), binder);
        scope.rules = Rules::new(&config.path, &config.excludes, config.ignore_file.as_deref())
            .map_err(|error| root_error(error.to_string()))?;
        scope.max_depth = config.max_depth;
        scope.one_file_system = config.one_file_system;
        scope.follow_symlinks = config.follow_symlinks;
        scope.left_out.clone_from(&shared.left_out);
        let opened = scope.open();
        let top = scope.root_entry();
        let rules = StoredRules::from(config).text();
        let row = match (stored, top, opened) {
            (Some(row), _, opened) => {
                let present = match (&opened, top) {
                    (Ok((_, seen)), Some(top)) => {
                        top == row.top && shared.is_same_directory(row.top, &seen.stat)?
                    }
                    _ => false,
                };
                let lost = if present { None } else { Some(why_lost(&opened.map(|_| ()))) };
                return Ok(Tree { row: RootRow { rules, lost, ..row }, scope: Arc::new(scope), present });
            }
            (None, Some(top), Ok(_)) => RootRow {
                id,
                path: config.path.clone().into(),
                top,
                seeded: None,
                rules,
                verified: Time(0),
                lost: None,
            },
            (None, _, Err(error)) => return Err(root_error(format!("cannot be opened: {error}"))),
            (None, None, Ok(_)) => return Err(root_error("its file system cannot be identified".to_owned())),
        };
        Ok(Tree { row, scope: Arc::new(scope), present: true })
    }

    /// As reconcile knows it.
    pub(crate) fn root(&self) -> Root {
        Root { id: self.row.id, top: self.row.top, path: self.row.path.clone() }
    }

    /// Its path, for display.
    pub(crate) fn display(&self) -> String {
        String::from_utf8_lossy(&self.row.path).into_owned()
    }
}

pub(crate) fn why_lost(opened: &Result<(), scan::Errno>) -> String {
    match opened {
        Ok(()) => "another directory or file system is at its path".to_owned(),
        Err(error) => format!("cannot be opened: {error}"),
    }
}

impl Shared {
    /// Whether `stat` is of the entry that the row of `id` describes; true when there is no row yet.
    pub(crate) fn is_same_directory(&self, id: EntryId, stat: &record::Stat) -> Result<bool, EngineError> {
        use reconcile::Stored as _;
        let row = self.index.read()?.row(id)?;
        Ok(row.is_none_or(|row| reconcile::same_entry(&row, stat)))
    }
}
