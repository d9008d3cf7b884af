//! `consume …`: the flags of what reads from a broker. Decides nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `consume …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Consume {
    /// Keep a replica of all that indexers publish, in the state folder
    #[command(after_help = "\
Holds every entry of every indexer that publishes to the exchange, each with the seq it is of, and says what it does not know \
yet. What was there before the queue was is told by `indexer replay --as-reads` on the host of the indexer. Runs until it is \
interrupted; --list and --status answer while it does not run, and need no broker.

Examples:
  indexer consume snapshot --amqp amqp://user:password@mq/%2f --state ~/replica
  indexer consume snapshot --state ~/replica --status
  indexer consume snapshot --state ~/replica --list --json")]
    Snapshot {
        /// The broker.
        #[command(flatten)]
        broker: Broker,
        /// Print the entries that the replica holds, and exit
        #[arg(long, conflicts_with = "status")]
        list: bool,
        /// Print which indexers it knows, up to where, and what is missing, and exit
        #[arg(long)]
        status: bool,
    },
    /// Tell of equal files across indexers, roots and hosts
    #[command(after_help = "\
Keeps the same replica as `consume snapshot`, and prints sets of equal files as they come, change and dissolve. Files are equal \
when the digests of their whole contents are, so files that no indexer hashed are in no set. Hard links of one file are one copy.
After a crash a line may be printed again. --list answers while it does not run, and needs no broker.
Exit code of --list 0: there are some; 1: none.

Examples:
  indexer consume duplicates --amqp amqp://user:password@mq/%2f --state ~/replica
  indexer consume duplicates --state ~/replica --list --top 20
  INDEXER_AMQP_URL=amqp://mq indexer consume duplicates --state ~/replica --json")]
    Duplicates {
        /// The broker.
        #[command(flatten)]
        broker: Broker,
        /// Print the sets that there are, those that waste most first, and exit
        #[arg(long)]
        list: bool,
        /// With --list: no more than so many
        #[arg(long, value_name = "N", requires = "list")]
        top: Option<usize>,
        /// Only files at least this large
        #[arg(long, value_name = "SIZE", default_value = "1", value_parser = crate::values::size)]
        min_size: u64,
    },
    /// Run the alert rules of the configuration over what indexers publish
    #[command(after_help = "\
Rules are those of [[alert]] in the configuration file, as `indexer watch` takes them, but for lag; see docs/alerts.md. Messages say \
which host they are of. What arrives is kept in the state folder until every rule is done with it, so each record that a rule looks \
for is told at least once, however often this is killed. A new rule begins with what arrives from then on. Runs until it is \
interrupted.

Examples:
  indexer consume alert --config alerts.toml --amqp amqp://user:password@mq/%2f --state ~/alerts
  INDEXER_AMQP_URL=amqp://mq indexer consume alert --state ~/alerts
  indexer alerts test films                  # whether a rule's message arrives")]
    Alert {
        /// The broker.
        #[command(flatten)]
        broker: Broker,
    },
    /// Read contents for an index on another host
    #[command(after_help = "\
Reads files that `indexer watch --hash remote` on HOST asks for, and sends their digests back; the index there stores what still is as \
it was asked for. Any number of workers share the jobs of a host. A file is opened below the right side of a --map alone, never \
through a symbolic link, and counts only with the size and times that HOST sees: over NFS, or on a cluster's file system.
Keeps nothing here. Runs until it is interrupted; what it has in hand goes to another worker then.

Examples:
  indexer consume rehash --host nas --map /srv=/mnt/nas --amqp amqp://user:password@mq/%2f
  INDEXER_AMQP_URL=amqp://mq indexer consume rehash --host nas --map /srv/a=/mnt/a --map /srv/b=/mnt/b")]
    Rehash {
        /// The broker.
        #[command(flatten)]
        at: At,
        /// Whose files, as the host calls itself
        #[arg(long, value_name = "HOST")]
        host: String,
        /// What lies at FROM there lies at TO here; the longest FROM counts
        #[arg(long, value_name = "FROM=TO", required = true, value_parser = map)]
        map: Vec<Map>,
        /// Read so many files at once [default: one for each processor, up to 8]
        #[arg(long, value_name = "N")]
        threads: Option<u16>,
    },
}

/// A folder there and here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// As the host of the index sees it, without a slash at its end.
    pub(crate) from: Vec<u8>,
    /// As we do.
    pub(crate) to: PathBuf,
}

fn map(text: &str) -> Result<Map, String> {
    let (from, to) = text.split_once('=').ok_or("write FROM=TO, as /srv=/mnt/nas")?;
    let plain = |path: &str| {
        path.starts_with('/')
            && path.split('/').skip(1).all(|name| !matches!(name, "." | "..") && !name.contains('\0'))
    };
    if !plain(from) || !plain(to) {
        return Err("both sides are absolute paths, without . and ..".to_owned());
    }
    Ok(Map { from: from.trim_end_matches('/').into(), to: PathBuf::from(to) })
}

/// Which broker, and which queue.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Broker {
    /// The broker.
    #[command(flatten)]
    pub(crate) at: At,
    /// Queue to read from; each state folder needs its own [default: EXCHANGE.replica.HOST, of alert EXCHANGE.alert.HOST]
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
}

/// Which broker.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct At {
    /// Address of the broker, over that of INDEXER_AMQP_URL and of the configuration; other users see it in the list of processes
    #[arg(long, value_name = "URL")]
    pub(crate) amqp: Option<String>,
    /// Exchange that the indexers publish to [default: that of the configuration, or indexer]
    #[arg(long, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_two_absolute_paths() {
        let good = map("/srv/a/=/mnt/x=y").unwrap();
        assert_eq!((&good.from[..], good.to), (&b"/srv/a"[..], PathBuf::from("/mnt/x=y")));
        assert_eq!(map("/=/mnt").unwrap().from, b"");
        for wrong in ["/srv", "srv=/mnt", "/srv=mnt", "/srv/../etc=/mnt", "/srv=/mnt/..", "=/mnt"] {
            assert!(map(wrong).is_err(), "{wrong}");
        }
    }
}
