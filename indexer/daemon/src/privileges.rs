//! Gives up what the daemon has no use for. Run as root it keeps five capabilities and nothing else, so that a
//! fault in it is not a fault with all of root's rights.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use tracing::{debug, warn};

/// Drops privileges of this thread and all that it will start. To be called before any other is started.
///
/// Kept, where held: `CAP_SYS_ADMIN` (marks on whole file systems), `CAP_DAC_READ_SEARCH` (reading every
/// directory and file, opening by handle), `CAP_FOWNER` (leaving access times alone), `CAP_LEASE` (seeing whether others' files
/// are being written), and `CAP_DAC_OVERRIDE` only if the state folder belongs to somebody else. Refusal is said and survived:
/// less would be dropped, not more.
pub(crate) fn drop_unneeded(state_folder: &Path) {
    let foreign =
        state_folder.symlink_metadata().is_ok_and(|meta| meta.uid() != rustix::process::geteuid().as_raw());
    let mut keep = CapabilitySet::SYS_ADMIN
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::LEASE;
    if foreign {
        keep |= CapabilitySet::DAC_OVERRIDE;
    }
    let dropped = capabilities(None).and_then(|held| {
        let kept = held.permitted & keep;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)
    });
    match dropped {
        Ok(()) => debug!(?keep, "other capabilities are dropped"),
        Err(error) => warn!(%error, "capabilities could not be dropped"),
    }
    if let Err(error) = set_no_new_privs(true) {
        warn!(%error, "programs started from here could gain privileges");
    }
}
