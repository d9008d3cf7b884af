//! The table in ClickHouse: whether it is the one that snapshots go to, what is in it, and rows for it. All names are quoted and all values
//! are parameters. Every request may be made again: a question, rows with a token, a removal.

use std::path::Path;
use std::time::Duration;

use super::batch::{Key, Sums};
use super::client::{Client, Fault};
use super::error::ExportError;
use super::server::Server;
use super::words::{escaped, plain, quoted};
use crate::ddl;

/// Tries of one request.
const TRIES: u32 = 6;
/// Before the second one; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Who is told how it goes, and may end it.
pub trait Watcher {
    /// So many rows more are in the table.
    fn rows(&mut self, rows: u64);

    /// A request is made again, since the one before failed.
    fn again(&mut self, why: &str);

    /// Waits; false when it is to end.
    fn pause(&mut self, time: Duration) -> bool;
}

/// A table.
#[derive(Debug)]
pub struct Table {
    client: Client,
    database: String,
    name: String,
    kind: Kind,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    /// Whether it knows a batch by its token.
    remembers: bool,
    /// Whether what it took is there at once for whoever asks.
    at_once: bool,
    /// Whether rows lie in tables below it.
    distributed: bool,
}

impl Table {
    /// The table of that name, which is not looked at yet; each request takes `timeout` at most. For https it knows the certificates of the
    /// system, or those of `ca` alone.
    ///
    /// # Errors
    /// What is wrong with the certificates, or with the name of the user.
    pub fn new(
        address: Server,
        (database, name): (&str, &str),
        ca: Option<&Path>,
        timeout: Duration,
    ) -> Result<Table, ExportError> {
        let client = Client::new(address, ca, timeout)?;
        Ok(Table { client, database: database.to_owned(), name: name.to_owned(), kind: Kind::default() })
    }

    /// Its name as people write it.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// Whether it knows a batch that is sent again; else one that is repeated while it is under way would be there twice.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.kind.remembers
    }

    /// Whether it shows at once what it took.
    pub(super) fn is_at_once(&self) -> bool {
        self.kind.at_once
    }

    /// Makes the table, on one node, where it is missing.
    ///
    /// # Errors
    /// What the server says.
    pub fn create(&self, watcher: &mut dyn Watcher) -> Result<(), ExportError> {
        let sql = ddl::one_node(&self.sql());
        persist(watcher, "make the table", &mut |_| self.client.ask(&sql, &[])).map(drop)
    }

    /// Looks at it.
    ///
    /// # Errors
    /// When there is none, or one of other columns, or no ClickHouse.
    pub fn check(&mut self, watcher: &mut dyn Watcher) -> Result<(), ExportError> {
        let doing = "reach ClickHouse";
        let version = persist(watcher, doing, &mut |_| self.client.ask("SELECT version()", &[]))?;
        if !version.trim().starts_with(|first: char| first.is_ascii_digit()) || version.len() > 100 {
            let why = "the answer is not ClickHouse's; its HTTP interface is at port 8123, or 8443 for https";
            return Err(ExportError::Server { doing, why: why.to_owned() });
        }
        let names = [("param_database", escaped(&self.database)), ("param_table", escaped(&self.name))];
        let which = "WHERE database = {database:String} AND";
        let mut ask =
            |sql: &str| persist(watcher, "look at the table", &mut |_| self.client.ask(sql, &names));
        let engine = ask(&format!(
            "SELECT engine, engine_full FROM system.tables {which} name = {{table:String}} FORMAT TabSeparated"
        ))?;
        let Some((engine, full)) = engine.trim_end().split_once('\t') else {
            return Err(ExportError::NoTable(self.shown()));
        };
        let types = ask(&format!(
            "SELECT name, type FROM system.columns {which} table = {{table:String}} FORMAT TabSeparatedRaw"
        ))?;
        self.has_all(&types)?;
        let setting = "non_replicated_deduplication_window";
        let merges = engine.ends_with("MergeTree");
        let distributed = engine == "Distributed";
        let many = engine.starts_with("Replicated") || engine.starts_with("Shared") || distributed;
        let window = match full.split_once(&format!("{setting} = ")) {
            _ if many || !merges => String::new(),
            Some((_, rest)) => rest.chars().take_while(char::is_ascii_digit).collect(),
            None => {
                let sql = format!("SELECT value FROM system.merge_tree_settings WHERE name = '{setting}'");
                ask(&sql)?.trim().to_owned()
            }
        };
        let remembers = many || window.parse::<u64>().is_ok_and(|window| window > 0);
        self.kind = Kind { remembers, at_once: merges && !many, distributed };
        Ok(())
    }

    /// Whether all columns are among `types`, each of the type it should have but for what changes no value.
    fn has_all(&self, types: &str) -> Result<(), ExportError> {
        let types: Vec<(&str, &str)> = types.lines().filter_map(|line| line.split_once('\t')).collect();
        for (column, should) in ddl::clickhouse_types() {
            let Some((_, is)) = types.iter().find(|(name, _)| *name == column) else {
                return Err(ExportError::NoColumn { table: self.shown(), column: column.to_owned() });
            };
            if plain(is) != plain(&should) {
                let (table, column, is) = (self.shown(), column.to_owned(), (*is).to_owned());
                return Err(ExportError::Type { table, column, is, should });
            }
        }
        Ok(())
    }

    /// What the rows of `key` add up to, or those of them whose paths are from the first to the last of `between`.
    pub(super) fn sums(
        &self,
        key: &Key,
        between: Option<&[String; 2]>,
        watcher: &mut dyn Watcher,
    ) -> Result<Sums, ExportError> {
        let mut values = of(key).to_vec();
        let mut which = WHICH.to_owned();
        if let Some([first, last]) = between {
            which.push_str(" AND path >= {first:String} AND path <= {last:String}");
            values.extend([("param_first", escaped(first)), ("param_last", escaped(last))]);
        }
        let time = |name: &str| format!("ifNull(sum(toUnixTimestamp64Micro({name})), 0)");
        let sql = format!(
            "SELECT count(), sum(toInt64(length(path))), sum(size), sum(inode), {}, {}, {} FROM {} {which} FORMAT TabSeparated",
            time("changed_time"),
            time("accessed_time"),
            time("digest_time"),
            self.sql()
        );
        let doing = "ask what is in the table";
        let said = persist(watcher, doing, &mut |_| self.client.ask(&sql, &values))?;
        let mut numbers = said.trim_end().split('\t');
        let rows = numbers.next().and_then(|rows| rows.parse().ok());
        let sums: Option<Vec<i64>> = numbers.map(|sum| sum.parse().ok()).collect();
        match (rows, sums.and_then(|sums| sums.try_into().ok())) {
            (Some(rows), Some(sums)) => Ok(Sums { rows, sums }),
            _ => Err(ExportError::Server { doing, why: "the answer is not what was asked for".to_owned() }),
        }
    }

    /// Puts rows into it, once for each `token`. Before it tries again, `there` says whether they are in it already.
    pub(super) fn insert(
        &self,
        (token, id): (&str, &str),
        body: &[u8],
        watcher: &mut dyn Watcher,
        there: &mut dyn FnMut(&mut dyn Watcher) -> Result<bool, ExportError>,
    ) -> Result<(), ExportError> {
        let columns: Vec<String> = ddl::clickhouse_types().iter().map(|(name, _)| quoted(name)).collect();
        let sql = format!("INSERT INTO {} ({}) FORMAT ArrowStream", self.sql(), columns.join(", "));
        let settings = [
            ("insert_deduplication_token", token.to_owned()),
            // A server refuses what it is still at.
            ("query_id", id.to_owned()),
            ("insert_deduplicate", "1".to_owned()),
            ("async_insert", "0".to_owned()),
            // Through a table over others: the answer comes when those have it.
            ("insert_distributed_sync", "1".to_owned()),
        ];
        let doing = "send rows";
        for number in 0.. {
            match self.client.send(&sql, &settings, body) {
                Ok(()) => return Ok(()),
                Err(fault) => after(fault, number, doing, watcher)?,
            }
            if there(watcher)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes the rows of `key`; all are gone when it returns.
    pub(super) fn remove(&self, key: &Key, watcher: &mut dyn Watcher) -> Result<(), ExportError> {
        if self.kind.distributed {
            return Err(ExportError::Distributed(self.shown()));
        }
        // The lightweight one is refused where there are projections.
        let sql = format!("ALTER TABLE {} DELETE {WHICH}", self.sql());
        let mut settings = of(key).to_vec();
        settings.push(("mutations_sync", "2".to_owned()));
        persist(watcher, "remove rows", &mut |_| self.client.ask(&sql, &settings)).map(drop)
    }

    fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.name))
    }
}

/// Which rows are a snapshot's.
const WHICH: &str = "WHERE host = {host:String} AND root = {root:String} AND date = {date:Date}";

fn of(key: &Key) -> [(&'static str, String); 3] {
    [("param_host", escaped(&key.host)), ("param_root", escaped(&key.root)), ("param_date", key.date.clone())]
}

/// Does it until it is done, or has failed for good.
fn persist<T>(
    watcher: &mut dyn Watcher,
    doing: &'static str,
    work: &mut dyn FnMut(u32) -> Result<T, Fault>,
) -> Result<T, ExportError> {
    let mut number = 0;
    loop {
        match work(number) {
            Ok(done) => return Ok(done),
            Err(fault) => after(fault, number, doing, watcher)?,
        }
        number += 1;
    }
}

/// Waits after a fault, if it is worth trying again.
fn after(
    fault: Fault,
    number: u32,
    doing: &'static str,
    watcher: &mut dyn Watcher,
) -> Result<(), ExportError> {
    let why = match fault {
        Fault::Passing(why) if number + 1 < TRIES => why,
        Fault::Passing(why) => {
            return Err(ExportError::Server { doing, why: format!("{why}; tried {TRIES} times") });
        }
        Fault::Lasting(why) => return Err(ExportError::Server { doing, why }),
    };
    watcher.again(&why);
    if watcher.pause(FIRST_PAUSE * 2_u32.pow(number)) { Ok(()) } else { Err(ExportError::Stopped) }
}
