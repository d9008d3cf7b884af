//! Names of users and groups, from the files of the system.

use rustc_hash::FxHashMap;

/// Names by number.
#[derive(Default)]
pub(crate) struct Names {
    users: FxHashMap<u32, String>,
    groups: FxHashMap<u32, String>,
}

impl Names {
    /// Reads `/etc/passwd` and `/etc/group`; what is not there stays a number.
    pub(crate) fn read() -> Names {
        Names { users: by_number("/etc/passwd"), groups: by_number("/etc/group") }
    }

    /// A user's name or number.
    pub(crate) fn user(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    /// A group's name or number.
    pub(crate) fn group(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
    }
}

impl From<Names> for snapshot::Owners {
    fn from(names: Names) -> snapshot::Owners {
        let (users, groups) = (names.users.into_iter().collect(), names.groups.into_iter().collect());
        snapshot::Owners { users, groups }
    }
}

/// The number of a user given by number or name.
///
/// # Errors
/// In words, when there is no such user.
pub(crate) fn user_number(user: &str) -> Result<u32, String> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let users = by_number("/etc/passwd");
    let found = users.iter().find(|(_, name)| *name == user).map(|(number, _)| *number);
    found.ok_or_else(|| format!("no user {user:?} in /etc/passwd; give the number"))
}

fn by_number(file: &str) -> FxHashMap<u32, String> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((number, name.to_owned()))
    });
    let mut names = FxHashMap::default();
    for (number, name) in lines {
        // The first line of a number is its name.
        names.entry(number).or_insert(name);
    }
    names
}
