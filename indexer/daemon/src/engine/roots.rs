//! The configured trees at run time: their rows, scopes and state.

use std::sync::Arc;
use std::time::Instant;

use index::RootRow;
use reconcile::Root;
use record::{EntryId, RootId, Time};
use scan::{Rules, Scope};

use super::config::{RootConfig, StoredRules};
use super::error::EngineError;
use super::shared::Shared;
use super::status::SweptStatus;

/// One tree.
pub(crate) struct Tree {
    pub(crate) row: RootRow,
    pub(crate) scope: Arc<Scope>,
    /// The directory it is at now is the one it was seeded at.
    pub(crate) present: bool,
    /// So many entries were not found and are not believed to be gone, and since when.
    pub(crate) doubt: Option<(u64, Instant)>,
    /// Its last sweep as a whole.
    pub(crate) swept: Option<SweptStatus>,
    /// When its last sweep began and when it ended, until all that differed is in the index.
    pub(crate) compared: Option<(Time, Instant)>,
    /// So much of what inotify told and no look could find the cause of was looked for here.
    pub(crate) looked: u64,
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
                let mut tree = Tree {
                    row: RootRow { rules, lost: None, ..row },
                    scope: Arc::new(scope),
                    present,
                    doubt: None,
                    swept: None,
                    compared: None,
                    looked: 0,
                };
                tree.row.lost = (!present).then(|| tree.why_lost(shared));
                return Ok(tree);
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
        Ok(Tree {
            row,
            scope: Arc::new(scope),
            present: true,
            doubt: None,
            swept: None,
            compared: None,
            looked: 0,
        })
    }

    /// As reconcile knows it.
    pub(crate) fn root(&self) -> Root {
        Root { id: self.row.id, top: self.row.top, path: self.row.path.clone() }
    }

    /// Why it cannot be looked at now, for people.
    pub(crate) fn why_lost(&self, shared: &Shared) -> String {
        let path = &self.row.path[..];
        let mounted = |point: &[u8]| {
            shared.ground.disk.mounts().is_ok_and(|mounts| mounts.iter().any(|mount| mount.point == point))
        };
        let away = !shared.volumes.is_in_sight(self.row.top.volume);
        match self.scope.open() {
            Err(scan::Errno::LOOP | scan::Errno::NOTDIR) => {
                "a symbolic link, or something else that is no directory, is at its path".to_owned()
            }
            Err(error) if away => format!("its file system is not mounted ({error})"),
            Err(scan::Errno::NOENT) => "it is not at its path any more: it, or a directory above it, was \
                                        renamed or removed"
                .to_owned(),
            Err(error) => format!("cannot be opened: {error}"),
            Ok(_) if self.scope.root_entry().is_some_and(|top| top.volume == self.row.top.volume) => {
                "another directory is at its path".to_owned()
            }
            Ok(_) if mounted(path) => "another file system is mounted at its path".to_owned(),
            Ok(_) if away => "its file system is not mounted".to_owned(),
            Ok(_) => "another directory, on another file system, is at its path".to_owned(),
        }
    }

    /// Its path, for display.
    pub(crate) fn display(&self) -> String {
        String::from_utf8_lossy(&self.row.path).into_owned()
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
