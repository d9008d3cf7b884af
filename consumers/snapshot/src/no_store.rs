//! In the place of `store` in programs that are built without object stores: says so, and does nothing.

use std::io::{self, Write};

use crate::address::Address;
use crate::error::SnapshotError;

/// There is none.
pub(crate) enum Object {}

/// There is none.
pub(crate) enum Upload {}

impl Object {
    pub(crate) fn begin(
        address: &Address,
        _: Option<String>,
        _: bool,
    ) -> Result<(Object, Upload), SnapshotError> {
        Err(SnapshotError::NoStores(address.to_string()))
    }

    pub(crate) fn in_folder(&self) -> bool {
        match *self {}
    }

    pub(crate) fn finish(self, _: Upload, _: Option<Vec<u8>>) -> Result<(), SnapshotError> {
        match self {}
    }
}

impl Write for Upload {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
