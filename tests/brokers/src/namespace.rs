//! A network of one's own for a server, and the only way there, which can be cut and healed. Takes root.

use std::path::PathBuf;
use std::process::Command;

use crate::tools::{Skipped, need_root, need_tool, run};

/// Gone when dropped.
pub(crate) struct Namespace {
    ip: PathBuf,
    name: String,
    ours: String,
    pub(crate) address: String,
}

impl Namespace {
    /// One for each process, in the range that is set aside for tests of networks.
    pub(crate) fn new() -> Result<Namespace, Skipped> {
        need_root("a network namespace")?;
        let ip = need_tool("ip", "iproute2")?;
        let pid = std::process::id();
        let (high, low) = (pid / 64 % 256, pid % 64 * 4);
        let (name, ours, theirs) = (format!("broker{pid}"), format!("bro{pid}a"), format!("bro{pid}b"));
        let address = format!("198.18.{high}.{}", low + 2);
        // Dropped, and what was made of it gone, if one of these fails.
        let space = Namespace { ip, name, ours, address };
        let all = [
            format!("netns add {}", space.name),
            format!("link add {} type veth peer name {theirs} netns {}", space.ours, space.name),
            format!("-netns {} link set lo up", space.name),
            format!("-netns {} address add {}/30 dev {theirs}", space.name, space.address),
            format!("-netns {} link set {theirs} up", space.name),
            format!("address add 198.18.{high}.{}/30 dev {}", low + 1, space.ours),
            format!("link set {} up", space.ours),
        ];
        for one in all {
            space.ip(&one).map_err(|why| Skipped(format!("no network namespace: {why}")))?;
        }
        Ok(space)
    }

    /// Runs a program there.
    pub(crate) fn enter(&self) -> Command {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "exec", &self.name]);
        command
    }

    /// Nothing goes through any more, and nobody is told.
    pub(crate) fn cut(&self) {
        self.ip(&format!("link set {} down", self.ours)).expect("the way is cut");
    }

    pub(crate) fn heal(&self) {
        self.ip(&format!("link set {} up", self.ours)).expect("the way is healed");
    }

    fn ip(&self, arguments: &str) -> Result<(), String> {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>).collect();
        run(&self.ip, &arguments)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The other end goes with it.
        let _ = self.ip(&format!("link del {}", self.ours));
        let _ = self.ip(&format!("netns del {}", self.name));
    }
}
