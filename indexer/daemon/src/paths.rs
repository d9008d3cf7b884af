//! Paths as people give them, made into paths as the index has them: absolute, bytes, parents without links.
//! Knows which directories cannot be roots.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::failure::Failure;

/// The path made absolute by the working folder, without `.`, doubled or trailing slashes. `..` is kept: what
/// it means depends on links.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let mut whole = match path.is_absolute() {
        true => PathBuf::new(),
        false => std::env::current_dir().map_err(|error| Failure::doing("find the working folder", error))?,
    };
    // `components` leaves out `.`, doubled and trailing slashes by itself.
    whole.extend(path.components().filter(|part| !matches!(part, Component::CurDir)));
    Ok(whole)
}

/// How the index may spell `path`, the likeliest first: as given, and with its parents' links resolved.
///
/// # Errors
/// When there is no working folder.
pub(crate) fn spellings(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let plain = absolute(path)?;
    let mut spellings = Vec::new();
    if !has_parent_dir(&plain) {
        spellings.push(bytes(&plain));
    }
    if let Ok(real) = real(&plain) {
        let real = bytes(&real);
        if !spellings.contains(&real) {
            spellings.push(real);
        }
    }
    if spellings.is_empty() {
        spellings.push(bytes(&plain));
    }
    Ok(spellings)
}

/// A directory that may be a root, as the index spells it.
///
/// # Errors
/// [`Failure::Usage`] when it is missing, a file, a symbolic link or a pseudo file system; says what to do.
pub(crate) fn root(path: &Path) -> Result<Vec<u8>, Failure> {
    let plain = absolute(path)?;
    let shown = shown(&plain);
    let meta = plain.symlink_metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Failure::Usage(format!("root {shown} does not exist; name a directory that does"))
        }
        _ => Failure::Usage(format!("root {shown} cannot be looked at: {error}")),
    })?;
    if meta.is_symlink() {
        let target = match plain.canonicalize() {
            Ok(target) => format!("; give its target instead: {}", self::shown(&target)),
            Err(_) => ", and leads nowhere; name a directory".to_owned(),
        };
        return Err(Failure::Usage(format!("root {shown} is a symbolic link{target}")));
    }
    if !meta.is_dir() {
        return Err(Failure::Usage(format!("root {shown} is not a directory; name the directory it is in")));
    }
    let real = real(&plain).map_err(|error| Failure::doing(format!("resolve {shown}"), error))?;
    if let Some(what) = pseudo(&real) {
        return Err(Failure::Usage(format!(
            "root {shown} is {what}: the kernel's own state, which has no files to index; name another directory"
        )));
    }
    Ok(bytes(&real))
}

/// Refuses roots that are given twice or lie in one another.
///
/// # Errors
/// [`Failure::Usage`] that names both.
pub(crate) fn disjoint(roots: &[&[u8]]) -> Result<(), Failure> {
    for (nth, root) in roots.iter().enumerate() {
        for other in &roots[..nth] {
            let (outer, inner) = if root.len() < other.len() { (root, other) } else { (other, root) };
            if outer == inner {
                return Err(Failure::Usage(format!(
                    "root {} is given twice; name it once",
                    shown_bytes(inner)
                )));
            }
            if is_below(inner, outer) {
                return Err(Failure::Usage(format!(
                    "root {} lies inside root {}, which covers it already; name one of them",
                    shown_bytes(inner),
                    shown_bytes(outer)
                )));
            }
        }
    }
    Ok(())
}

/// Whether `path` is `top` or lies below it.
pub(crate) fn is_below(path: &[u8], top: &[u8]) -> bool {
    let top = top.strip_suffix(b"/").unwrap_or(top);
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The default configuration file, which need not be there.
pub(crate) fn default_config(env: &dyn Fn(&str) -> Option<OsString>) -> PathBuf {
    xdg(env, "XDG_CONFIG_HOME", ".config")
        .unwrap_or_else(|| PathBuf::from("/etc"))
        .join("indexer/indexer.toml")
}

fn xdg(env: &dyn Fn(&str) -> Option<OsString>, variable: &str, below_home: &str) -> Option<PathBuf> {
    // The specification says to ignore relative paths.
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below_home)))
}

/// The path with its parents' links resolved; its own last component is not looked through.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
        // `/`, or a path that ends with `..`.
        _ => path.canonicalize(),
    }
}

fn has_parent_dir(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn pseudo(path: &Path) -> Option<String> {
    if path == Path::new("/dev") {
        return Some("a file system of devices".into());
    }
    let fd = scan::open_root(path.as_os_str().as_bytes()).ok()?;
    let seen = scan::look_self(std::os::fd::AsFd::as_fd(&fd)).ok()?;
    let mounts = scan::mounts().ok()?;
    let mount = mounts.iter().find(|mount| mount.id == seen.mount)?;
    scan::is_pseudo(&mount.fs_type).then(|| format!("on a {} file system", mount.fs_type))
}

/// The bytes of a path.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// A path for a message.
pub(crate) fn shown(path: &Path) -> String {
    shown_bytes(path.as_os_str().as_bytes())
}

/// The same.
pub(crate) fn shown_bytes(path: &[u8]) -> String {
    crate::render::quoted(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        match root(path) {
            Err(Failure::Usage(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_a_root_is_said_with_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        std::fs::write(top.join("file"), b"").unwrap();
        std::fs::create_dir(top.join("dir")).unwrap();
        std::os::unix::fs::symlink("dir", top.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("dangling")).unwrap();

        assert!(refused(&top.join("none")).contains("does not exist"));
        assert!(refused(&top.join("file/below")).contains("does not exist"));
        assert!(refused(&top.join("file")).contains("not a directory"));
        let link = refused(&top.join("link/"));
        assert!(link.contains("symbolic link") && link.ends_with("/dir"), "{link}");
        assert!(refused(&top.join("dangling")).contains("leads nowhere"));
        assert!(refused(Path::new("/proc")).contains("proc file system"));
        assert!(refused(Path::new("/sys")).contains("sysfs"));
        assert!(refused(Path::new("/dev")).contains("devices"));
        assert_eq!(root(&top.join("./dir//")).unwrap(), bytes(&top.join("dir")));
        assert_eq!(root(&top.join("dir/../dir")).unwrap(), bytes(&top.join("dir")));
        assert_eq!(root(&top.join("dir/..")).unwrap(), bytes(&top));
        assert_eq!(root(Path::new("/")).unwrap(), b"/");
        // Above the last component links are resolved, so that the stored path is real.
        std::fs::create_dir(top.join("dir/sub")).unwrap();
        assert_eq!(root(&top.join("link/sub")).unwrap(), bytes(&top.join("dir/sub")));
    }

    #[test]
    fn roots_do_not_overlap() {
        disjoint(&[b"/a", b"/ab", b"/b/a"]).unwrap();
        assert!(disjoint(&[b"/a", b"/b", b"/a"]).unwrap_err().to_string().contains("twice"));
        let inside = disjoint(&[b"/a/b", b"/a"]).unwrap_err().to_string();
        assert!(inside.contains("root /a/b lies inside root /a,"), "{inside}");
        disjoint(&[b"/a", b"/"]).expect_err("all lies in /");
    }

    #[test]
    fn defaults_follow_the_xdg_specification() {
        let env = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            }
        };
        let file = "indexer/indexer.toml";
        assert_eq!(default_config(&env(&[("HOME", "/h")])), Path::new("/h/.config").join(file));
        assert_eq!(
            default_config(&env(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")])),
            Path::new("/x").join(file)
        );
        assert_eq!(default_config(&env(&[("XDG_CONFIG_HOME", "relative")])), Path::new("/etc").join(file));
    }

    #[test]
    fn a_path_is_spelled_as_given_and_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("dir")).unwrap();
        std::os::unix::fs::symlink("dir", top.join("link")).unwrap();
        let both = spellings(&top.join("link/x")).unwrap();
        assert_eq!(both, [bytes(&top.join("link/x")), bytes(&top.join("dir/x"))]);
        assert_eq!(spellings(&top.join("dir/../dir/x")).unwrap(), [bytes(&top.join("dir/x"))]);
    }
}
