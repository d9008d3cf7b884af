//! Snapshots in object stores: an object goes up in parts and appears whole when all are there, and its manifest after it. The only
//! module that knows `object_store` and waits for futures; to all others an upload is something to write to.

mod http;
mod settings;
mod trouble;
mod upload;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};
use tokio::runtime::Runtime;

use crate::address::Address;
use crate::error::SnapshotError;
use crate::place::{MANIFEST, ROWS};
use trouble::Troubles;
pub(crate) use upload::Upload;

/// How long a store is tried that has not answered yet: a wrong address is soon known.
const AT_FIRST: Duration = Duration::from_secs(6);
/// And one that has: what was written so far is worth some patience.
const LATER: Duration = Duration::from_secs(60);

/// A store that is spoken to.
struct Store {
    /// `None` when it ends.
    runtime: Option<Runtime>,
    store: Box<dyn ObjectStore>,
    troubles: Troubles,
    address: Address,
}

/// An object that is being written, and the manifest that says of it that it is there.
pub(crate) struct Object {
    store: Arc<Store>,
    rows: Path,
    manifest: Option<Path>,
    over: bool,
}

impl Object {
    /// Begins what is to be at `address`, or the rows in `folder` below it; `over` what is there.
    ///
    /// # Errors
    /// When something is there, or the store says no.
    pub(crate) fn begin(
        address: &Address,
        folder: Option<String>,
        over: bool,
    ) -> Result<(Object, Upload), SnapshotError> {
        let address = folder.as_ref().map_or(address.clone(), |folder| address.join(folder));
        let rows = if folder.is_some() { path(&address.join(ROWS))? } else { path(&address)? };
        let manifest = folder.map(|_| path(&address.join(MANIFEST))).transpose()?;
        let first = Store::open(&address, AT_FIRST, false)?;
        first.refuse(manifest.as_ref().unwrap_or(&rows), over)?;
        // What a killed run left without a manifest is written over, so the store is not to refuse that.
        let fresh = !over && (manifest.is_none() || !first.has(&rows)?);
        drop(first);
        let store = Arc::new(Store::open(&address, LATER, fresh)?);
        let upload = Upload::begin(&store, &rows)?;
        Ok((Object { store, rows, manifest, over }, upload))
    }

    /// Whether a manifest is to say of it.
    pub(crate) fn in_folder(&self) -> bool {
        self.manifest.is_some()
    }

    /// Has it appear, and its manifest after it.
    ///
    /// # Errors
    /// When something came there meanwhile, or the store says no. Then nothing has appeared, or the rows without a manifest.
    pub(crate) fn finish(self, mut upload: Upload, manifest: Option<Vec<u8>>) -> Result<(), SnapshotError> {
        let Object { store, rows, manifest: place, over } = self;
        upload.send_all()?;
        match &place {
            // Never a manifest of other rows: it goes first.
            Some(place) if over => store.remove(place)?,
            place => store.refuse(place.as_ref().unwrap_or(&rows), over)?,
        }
        upload.complete()?;
        match (place, manifest) {
            (Some(place), Some(text)) => store.put(&place, text, over),
            _ => Ok(()),
        }
    }
}

impl Store {
    /// `fresh`: what is there already is not to be replaced, if the store can tell.
    fn open(address: &Address, patience: Duration, fresh: bool) -> Result<Store, SnapshotError> {
        let troubles = Troubles::default();
        let store = settings::open(address, patience, fresh, &troubles)?;
        // Requests wait on threads of their own; this one only brings them together.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        let runtime = runtime.map_err(|error| SnapshotError::Store {
            doing: "start the threads for",
            url: address.to_string(),
            why: error.to_string(),
        })?;
        Ok(Store { runtime: Some(runtime), store, troubles, address: address.clone() })
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("it is there until the end").block_on(future)
    }

    /// Why something was not done.
    fn failed(&self, doing: &'static str, error: &Error) -> SnapshotError {
        let why = match error {
            Error::Precondition { .. } | Error::AlreadyExists { .. } => {
                return SnapshotError::Exists(self.address.to_path());
            }
            error => self.troubles.why(&self.address, error),
        };
        let url = self.address.to_string();
        match self.troubles.is_setting() {
            true => SnapshotError::Settings { url, why },
            false => SnapshotError::Store { doing, url, why },
        }
    }

    fn has(&self, path: &Path) -> Result<bool, SnapshotError> {
        match self.wait(self.store.head(path)) {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look at", &error)),
        }
    }

    fn refuse(&self, path: &Path, over: bool) -> Result<(), SnapshotError> {
        // Also where it may be there: whoever asks learns of wrong credentials before the work, not after.
        match self.has(path)? {
            true if !over => Err(SnapshotError::Exists(self.address.to_path())),
            _ => Ok(()),
        }
    }

    fn remove(&self, path: &Path) -> Result<(), SnapshotError> {
        match self.wait(self.store.delete(path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove the manifest of", &error)),
        }
    }

    fn put(&self, path: &Path, text: Vec<u8>, over: bool) -> Result<(), SnapshotError> {
        let put =
            |mode: PutMode| self.wait(self.store.put_opts(path, PutPayload::from(text.clone()), mode.into()));
        let done = match if over { put(PutMode::Overwrite) } else { put(PutMode::Create) } {
            // Not every store knows of that; it was not there just now.
            Err(error)
                if !over && (matches!(error, Error::NotImplemented { .. }) || self.troubles.lacks()) =>
            {
                put(PutMode::Overwrite)
            }
            done => done,
        };
        done.map(drop).map_err(|error| self.failed("write the manifest of", &error))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A request that hangs is nothing to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The key, as it is: names of ours are escaped already.
fn path(address: &Address) -> Result<Path, SnapshotError> {
    Path::parse(&address.key)
        .map_err(|_| SnapshotError::Address { url: address.to_string(), why: "no store has such a key" })
}
