//! `consume …`: the flags of what reads from a broker. Decides nothing.

use clap::{Args, Subcommand};

/// `consume …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Consume {
    /// Keep a replica of all that indexers publish, in the state folder
    #[command(after_help = "\
Holds every entry of every indexer that publishes to the exchange, each with the seq it is of, and says what it does not know
yet. What was there before the queue was is told by `indexer replay --as-reads` on the host of the indexer. Runs until it is
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
Keeps the same replica as `consume snapshot`, and prints sets of equal files as they come, change and dissolve. Files are equal
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
Rules are those of [[alert]] in the configuration file, as `indexer watch` takes them, but for lag; see docs/alerts.md. Messages say
which host they are of. What arrives is kept in the state folder until every rule is done with it, so each record that a rule looks
for is told at least once, however often this is killed. A new rule begins with what arrives from then on. Runs until it is
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
}

/// Which broker, and which queue.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Broker {
    /// Address of the broker, over that of INDEXER_AMQP_URL and of the configuration; other users see it in the list of processes
    #[arg(long, value_name = "URL")]
    pub(crate) amqp: Option<String>,
    /// Exchange that the indexers publish to [default: that of the configuration, or indexer]
    #[arg(long, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Queue to read from; each state folder needs its own [default: EXCHANGE.replica.HOST, of alert EXCHANGE.alert.HOST]
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
}
