//! Extended attributes: ACLs, labels and tags, read and written by open file. Knows no meaning of any.

use std::fs::File;

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

use crate::Why;
use crate::why::failed;

/// The longest list, and the longest value, that the kernel gives out, in bytes.
const MOST: usize = 64 << 10;

/// Names with their values, by name.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// All attributes that we may see. A file system without any has none.
pub(crate) fn xattrs(file: &File) -> Result<Xattrs, Why> {
    let mut buffer = vec![0; MOST];
    let length = match flistxattr(file, &mut buffer[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(failed("read its extended attributes")(error)),
    };
    let names: Vec<Vec<u8>> = buffer[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut all = Vec::new();
    for name in names {
        match fgetxattr(file, &name[..], &mut buffer[..]) {
            Ok(length) => all.push((name, buffer[..length].to_vec())),
            // Gone since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(failed("read its extended attributes")(error)),
        }
    }
    all.sort();
    Ok(all)
}

/// Gives `file` those of `wanted` that it does not have; a new file has some by itself, as its label.
pub(crate) fn give(file: &File, wanted: &Xattrs) -> Result<(), Why> {
    let has = xattrs(file)?;
    for (name, value) in wanted.iter().filter(|wanted| !has.contains(wanted)) {
        fsetxattr(file, &name[..], value, XattrFlags::empty())
            .map_err(failed("write its extended attributes"))?;
    }
    Ok(())
}
