//! A broker of one's own: RabbitMQ on ports and in folders that nobody else uses, gone when the test's process is.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::tools::{Skipped, need_tool};
use crate::wait::wait_for;

/// Where Debian has the programs themselves; those in the path first become another user.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Names a folder with other programs: `rabbitmq-server`, `rabbitmqctl` and, where the system has none, `epmd`.
const OTHERS: &str = "RABBITMQ_PROGRAMS";

/// Runs the server and Erlang's register of ports, which would go on without it, and ends both when nobody holds the other end
/// of the input any more.
const GUARD: &str = r#"epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 > "$HOME/epmd" 2>&1 &
"$0" > "$HOME/out" 2>&1 &
cat > /dev/null
kill -9 -$$"#;

/// Where a broker may be used that somebody else started.
const VARIABLE: &str = "AMQP_URL";

/// The address of a broker for tests that leave it as it is: that of `AMQP_URL`, or one of this process's own, which is started
/// once.
///
/// # Panics
/// As [`Broker::start`].
#[must_use]
pub fn broker_url() -> String {
    static OURS: OnceLock<Broker> = OnceLock::new();
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => OURS.get_or_init(Broker::start).url(),
    }
}

/// A broker that runs.
pub struct Broker {
    folder: TempDir,
    port: u16,
    guard: Option<Child>,
    namespace: Option<Namespace>,
}

impl Broker {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start, or there is none and none can be installed: what a broker has to do with is never left out.
    #[must_use]
    pub fn start() -> Broker {
        let mut broker = Broker::new();
        broker.run();
        broker
    }

    /// One that does not run yet.
    ///
    /// # Panics
    /// As [`Broker::start`].
    #[must_use]
    pub fn new() -> Broker {
        if others().is_none()
            && let Err(Skipped(why)) = need_tool("rabbitmq-server", "rabbitmq-server")
        {
            panic!(
                "{why}; install rabbitmq-server (apt-get install rabbitmq-server), then run the tests again"
            );
        }
        let folder = tempfile::tempdir().expect("a folder");
        Broker { folder, port: free_ports(), guard: None, namespace: None }
    }

    /// Starts one in a network of its own.
    ///
    /// # Errors
    /// Where that cannot be made.
    ///
    /// # Panics
    /// As [`Broker::start`].
    pub fn start_apart() -> Result<Broker, Skipped> {
        let mut broker = Broker::new();
        broker.namespace = Some(Namespace::new()?);
        // From there we are not at the same machine.
        broker.configure("loopback_users = none\n");
        broker.run();
        Ok(broker)
    }

    /// Gives it a configuration, in the form of `rabbitmq.conf`, from its next start on.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.folder.path().join("rabbitmq.conf"), text).expect("a configuration");
    }

    /// Gives it these plugins, from its next start on.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn enable(&self, plugins: &[&str]) {
        let list = format!("[{}].", plugins.join(","));
        std::fs::write(self.folder.path().join("plugins"), list).expect("a list of plugins");
    }

    /// Starts it again, with all that it kept.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run(&mut self) {
        let (command, program) = (self.command("rabbitmq-server"), programs().join("rabbitmq-server"));
        let mut guarded = self.enter("setsid");
        guarded.args(["sh", "-c", GUARD]).arg(program).stdin(Stdio::piped());
        for (name, value) in command.get_envs() {
            guarded.env(name, value.unwrap_or_default());
        }
        self.guard = Some(guarded.spawn().expect("setsid starts"));
        let pid = self.folder.path().join("pid");
        let _ = self.control(&["wait", &pid.to_string_lossy(), "--timeout", "120"]);
    }

    /// As [`Broker::run`], where it does not run.
    ///
    /// # Panics
    /// When it does not start.
    pub fn run_if_killed(&mut self) {
        if self.guard.is_none() {
            self.run();
        }
    }

    /// Waits until a quorum queue outlives a kill: its name is in the register that Raft's library keeps, in a file of Erlang's
    /// `dets`, which is written when nothing came for a while. Killed before that, the broker lists the queue and nobody reads from it.
    ///
    /// # Panics
    /// When that takes longer than [`wait_for`] waits.
    pub fn keeps(&self, queue: &str) {
        let holds = |folder: &Path| {
            let names = std::fs::read(folder.join("names.dets")).unwrap_or_default();
            names.windows(queue.len()).any(|part| part == queue.as_bytes())
        };
        wait_for("the queue to be kept", || {
            let nodes = std::fs::read_dir(self.folder.path().join("db")).ok()?.flatten();
            let mut folders = nodes.filter_map(|node| std::fs::read_dir(node.path().join("quorum")).ok());
            folders.any(|quorum| quorum.flatten().any(|folder| holds(&folder.path()))).then_some(())
        });
    }

    /// Kills it; what it had promised to keep is on the disk.
    pub fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
        wait_for("the end of the broker", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(())
        });
        let _ = std::fs::remove_file(self.folder.path().join("pid"));
    }

    /// Runs `rabbitmqctl` and gives what it says.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn control(&self, arguments: &[&str]) -> String {
        let done = self.command("rabbitmqctl").args(arguments).output();
        let done = done.expect("rabbitmqctl starts");
        assert!(
            done.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Takes over definitions, and has them.
    ///
    /// # Panics
    /// When it does not.
    pub fn import(&self, definitions: &str) {
        let file = self.folder.path().join("import.json");
        std::fs::write(&file, definitions).expect("a file");
        let _ = self.control(&["import_definitions", &file.to_string_lossy()]);
    }

    /// All its definitions.
    ///
    /// # Panics
    /// When it does not give them.
    #[must_use]
    pub fn export(&self) -> String {
        let file = self.folder.path().join("export.json");
        let _ = self.control(&["export_definitions", &file.to_string_lossy()]);
        std::fs::read_to_string(file).expect("definitions")
    }

    fn command(&self, program: &str) -> Command {
        let (port, folder) = (self.port, self.folder.path());
        let programs = programs();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs.clone()).chain(std::env::split_paths(&path));
        let mut command = self.enter(programs.join(program));
        let below = |name: &str| -> PathBuf { folder.join(name) };
        command
            .env("PATH", std::env::join_paths(path).expect("a path"))
            .env("HOME", folder)
            .env("ERL_CRASH_DUMP", below("crash"))
            .env("RABBITMQ_NODENAME", format!("indexer{port}@localhost"))
            .env("RABBITMQ_NODE_IP_ADDRESS", self.namespace.as_ref().map_or("127.0.0.1", |_| "0.0.0.0"))
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", (port + 1).to_string())
            .env("ERL_EPMD_PORT", (port + 2).to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", below("db"))
            .env("RABBITMQ_LOG_BASE", below("log"))
            .env("RABBITMQ_PID_FILE", below("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", below("plugins"))
            .env("RABBITMQ_CONFIG_FILE", below("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", below("none"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
        command
    }

    /// A program in the network that the broker is in.
    fn enter(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            Some(space) => {
                let mut command = space.enter();
                command.arg(program);
                command
            }
            None => Command::new(program),
        }
    }

    /// Cuts the way to one that was started apart: nothing goes through, and nobody is told.
    ///
    /// # Panics
    /// When that fails.
    pub fn cut(&self) {
        self.namespace.iter().for_each(Namespace::cut);
    }

    /// Undoes [`Broker::cut`].
    ///
    /// # Panics
    /// When that fails.
    pub fn heal(&self) {
        self.namespace.iter().for_each(Namespace::heal);
    }

    /// Its address, as its only user.
    #[must_use]
    pub fn url(&self) -> String {
        let host = self.namespace.as_ref().map_or("127.0.0.1", |space| &space.address);
        format!("amqp://guest:guest@{host}:{}/%2f", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A port beside it that nobody uses, for what a configuration has it listen for.
    #[must_use]
    pub fn spare_port(&self) -> u16 {
        self.port + 3
    }
}

impl Default for Broker {
    fn default() -> Broker {
        Broker::new()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.guard.is_some() {
            self.kill();
        }
    }
}

fn programs() -> PathBuf {
    others().unwrap_or_else(|| PathBuf::from(PROGRAMS))
}

/// The folder of programs that were asked for.
fn others() -> Option<PathBuf> {
    std::env::var_os(OTHERS).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Four ports in a row that nobody uses, below those that the system gives out by itself; others for each call.
fn free_ports() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id() % 3_000;
    (0..3_000)
        .map(|_| 20_000 + 4 * ((first + CALLS.fetch_add(1, Ordering::Relaxed)) % 3_000) as u16)
        .find(|port| (0..4).all(|more| TcpListener::bind(("127.0.0.1", port + more)).is_ok()))
        .expect("four free ports")
}
