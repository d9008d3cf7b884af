//! The command line: names, flags and help. Decides nothing.

mod consume;
mod export;
mod flags;
mod oneshot;
mod report;
mod snapshots;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use consume::{At, Broker, Consume, Map};
pub(crate) use export::{ClickHouse, Exporting};
pub(crate) use flags::{
    AlgorithmArg, AmqpFormatArg, BackendArg, ByArg, Changes, CompatArg, Du, Dups, Find, HashArg, LevelArg,
    LinkArg, LogFormat, ProfileArg, Prove, RequireArg, Scan, SchemaArg, Scrub, Snapshot, Watch,
};
pub(crate) use oneshot::{ColumnsArg, OneShot, ScanAll};
pub(crate) use report::{Diff, FormatArg, GrowthByArg, Meant, Old, Reported, Reporting, StaleByArg};
pub(crate) use snapshots::{KeepArgs, Snapshots, TableArg};

/// Keep an exact, durable, always-current index of file trees, and a journal of every change
#[derive(Debug, Parser)]
#[command(name = "indexer", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  indexer watch ~/Media              index the tree and follow every change
  indexer du ~/Media --depth 1       sizes, at once, while it changes
  indexer changes --since 2h         what happened in the last two hours

Exit codes: 0 done, 1 differences or nothing found, 2 usage, 3 it failed")]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// Keep index and journal in this folder [default: indexer in the XDG state folder]
    #[arg(long, value_name = "DIR", global = true, env = "INDEXER_STATE", help_heading = "Global options")]
    pub(crate) state: Option<PathBuf>,
    /// Read this configuration file [default: indexer/indexer.toml in the XDG config folder]
    #[arg(long, value_name = "FILE", global = true, env = "INDEXER_CONFIG", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Say more on stderr
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = "Global options")]
    pub(crate) verbose: bool,
    /// Say only errors on stderr
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Index the trees, then follow every change, in the foreground
    #[command(after_help = "\
Prints a line that begins with `live` once all that was there is in the index and changes are followed.
Without ROOT it takes the roots of the configuration file, or those the index has.

Examples:
  indexer watch ~/Media
  indexer watch /srv/data --exclude '*.tmp' --exclude /cache/ --backend inotify")]
    Watch(Watch),
    /// Index the trees once, or bring the index up to date, and exit; or write rows without an index
    #[command(after_help = "\
With --path and --output it writes one row a name to Parquet, straight from the walk: no index is made or read, and no state folder.
The columns are the eleven of an older scanner, or all with --compat none; see docs/snapshots.md. With --incremental it writes \
whole files as it goes, and --resume goes on after Ctrl-C, a crash or a timeout, at any directory.

Examples:
  indexer scan ~/Media
  indexer scan /srv/data --threads 8 --one-file-system
  indexer scan --path /srv/data --output data.parquet
  indexer scan -p /srv/data -o data.parquet --incremental --rows-per-chunk 500000 --chunk-interval-secs 300
  indexer scan -p /srv/data -o data.parquet --resume")]
    Scan(Box<ScanAll>),
    /// Show roots, coverage, progress and consumers
    #[command(
        after_help = "Examples:\n  indexer status\n  indexer status --follow --json\n  indexer status --check --quiet || alert"
    )]
    Status {
        /// Print it again each second until interrupted
        #[arg(long)]
        follow: bool,
        /// End with 1 when anything is not as the configuration asks
        #[arg(long, conflicts_with = "follow")]
        check: bool,
    },
    /// Wait until every change made so far is in the index and the journal
    #[command(
        after_help = "Needs a running daemon.\n\nExample:\n  cp -a photos ~/Media/ && indexer settle && indexer du ~/Media"
    )]
    Settle {
        /// Give up after this long
        #[arg(long, value_name = "AGE", default_value = "30s", value_parser = crate::values::age)]
        timeout: std::time::Duration,
    },
    /// Show change records
    #[command(after_help = "\
Examples:
  indexer changes --since 2h
  indexer changes --since 2026-11-20T10:00:00 --root ~/Media
  indexer changes --since 1234 --follow --json
  indexer changes --consumer backup --ack --json")]
    Changes(Changes),
    /// List a directory as the index has it
    #[command(after_help = "Examples:\n  indexer ls ~/Media\n  indexer ls -l ~/Media/film.mkv")]
    Ls {
        /// Directory or entry
        path: PathBuf,
        /// Print mode, links, owner, size and time too
        #[arg(short, long)]
        long: bool,
    },
    /// Find entries by name, kind, size, time, category or owner
    #[command(after_help = "\
Examples:
  indexer find ~/Media --name '*.mkv' --size +1G
  indexer find --type file --newer 1d --json
  indexer find /srv --older 2y --category video --print0 | xargs -0 ls -l
  indexer find ~/Media --category photo,video --newer 1d

A file's category is told by the extension of its name (the first, of several), and by its first bytes where the extension \
says nothing and they were read. Directories, links and the like have none.")]
    Find(Find),
    /// Show the size of directories
    #[command(after_help = "\
Answers from sums kept up to date, whatever the size of the tree. A file with several names counts once a root.

Examples:
  indexer du ~/Media
  indexer du ~/Media --depth 2 --top 20
  indexer du ~/Media/films --exact
  indexer du ~/Media --by category")]
    Du(Du),
    /// Show how directories are kept true, and since when
    #[command(after_help = "\
Counts directories: watched (kernel events tell of every change), swept (compared now and then), unverified \
(not compared yet), blind (they cannot be looked at).

Examples:
  indexer coverage
  indexer coverage ~/Media --depth 1
  indexer coverage ~/Media --all --json")]
    Coverage {
        /// Directory [default: all roots]
        path: Option<PathBuf>,
        /// Show directories down to this many levels below, too
        #[arg(long, value_name = "N", default_value_t = 0)]
        depth: u32,
        /// Name every blind directory, not the first twenty alone
        #[arg(long)]
        all: bool,
    },
    /// Show equal files and whole equal directories, those that waste most first
    #[command(after_help = "\
Answers from the index, and reads no file: `indexer watch` and `indexer scan --hash candidates` do. Hard links of one file are \
one copy; empty files are no duplicates; copies that share their blocks on the disk waste nothing. Directories with equal names \
and contents, all the way down, are one finding; files that it explains are not shown again, but with --files and --link.
Exit code 0: there are some; 1: none.

With --link all copies but one become hard links of that one, or share its blocks. Both files are compared byte by byte right \
before; --link and --undo only show what they would do, and nothing is written without --apply.
Exit code then 0: done, or nothing to do; 1: some were skipped, with the reason; 3: it failed.

Examples:
  indexer dups --top 20
  indexer dups --min-size 1MiB --root ~/Media --json
  indexer dups --link hard --root ~/Media            # shows what would be done
  indexer dups --link hard --root ~/Media --apply    # does it, and names its log
  indexer dups --undo LOG --apply")]
    Dups(Dups),
    /// Read files again, and find contents that changed though nobody wrote them
    #[command(after_help = "\
Compares with the digest of each file, so it reads what was hashed before. A file has rotted when its content is another, its \
size and times are not, a second read past the page cache says the same, and nobody has it open for writing. What was read is \
noted file by file: a scrub that is cut off goes on with --older-than.
Exit code 0: nothing rotted; 1: something did.

Examples:
  indexer scrub ~/Media --rate 50MiB
  indexer scrub --older-than 30d --json
  indexer scrub --list")]
    Scrub(Scrub),
    /// Hash files now, and print their digests
    #[command(after_help = "\
Reads what was not read since it changed, in full, and waits for files that are being written. Directories stand for all \
files below them.

Examples:
  indexer hash ~/Media/film.mkv
  indexer hash ~/Media --json")]
    Hash {
        /// Files or directories
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Give up on a file that is being written after this long
        #[arg(long, value_name = "AGE", default_value = "1m", value_parser = crate::values::age)]
        timeout: std::time::Duration,
    },
    /// Compare the index with the disk, by a walk of its own
    #[command(
        after_help = "Exit code 0: equal; 1: differences, each listed.\n\nExample:\n  indexer verify ~/Media --json"
    )]
    Verify {
        /// Only this root [default: all]
        root: Option<PathBuf>,
    },
    /// Try on this very file system whether anything is missed
    #[command(after_help = "\
Works at random in a new folder in PATH while a daemon of its own follows, is stopped, flooded, killed and (as root) \
loses its mount; compares again and again, and removes the folder. Your own index and daemon are not touched.
Exit code 0: proven; 1: differences, each listed, and the folder is kept; 3: it could not be tried.

Examples:
  indexer prove ~/Media
  indexer prove /mnt/nas --seconds 600 --kills 100 --json
  indexer prove /srv --seed 1234 --backend inotify")]
    Prove(Prove),
    /// Look at a tree again and repair what differs
    #[command(after_help = "Examples:\n  indexer sweep\n  indexer sweep ~/Media/films --level names")]
    Sweep {
        /// Only this directory and what is below it [default: all roots]
        path: Option<PathBuf>,
        /// What to compare
        #[arg(long, value_enum, default_value_t = LevelArg::Stat)]
        level: LevelArg,
    },
    /// Show the alert rules and how they fare
    #[command(after_help = "\
Rules stand in the configuration file, as [[alert]]. Numbers are of this run of the daemon.

Examples:
  indexer alerts
  indexer alerts --json
  indexer alerts test films")]
    Alerts {
        /// What to do with them.
        #[command(subcommand)]
        action: Option<Alerts>,
    },
    /// Read what indexers publish from a message broker, on any host
    #[command(subcommand, arg_required_else_help = true)]
    Consume(Consume),
    /// Send what the index holds to the message broker, for subscribers that begin or begin anew
    #[command(after_help = "\
Sends one message an entry, as of one record of the journal, between two that say where it begins and ends; see docs/amqp.md.
The broker is that of the configuration. With a daemon or without one; what the daemon publishes meanwhile goes out as ever.
Exit code 0: all of it arrived, the end among it; 3: not all of it did, and no end was sent.

Examples:
  indexer replay --as-reads
  indexer replay --root ~/Media --as-reads --json")]
    Replay {
        /// Only this root [default: all]
        #[arg(long, value_name = "ROOT")]
        root: Option<PathBuf>,
        /// Send entries as they are now: the only form there is
        #[arg(long)]
        as_reads: bool,
        /// Give up when the broker takes nothing for so long
        #[arg(long, value_name = "AGE", default_value = "1m", value_parser = crate::values::age)]
        patience: std::time::Duration,
    },
    /// Write the index as Parquet, as of one record of the journal
    #[command(after_help = "\
One row a name, sorted by path; see docs/snapshots.md for the columns. With a daemon or without one. A folder holds \
host=HOST/root=ROOT/date=DAY/snapshot.parquet and a manifest for each root; a name that ends in .parquet is one file, of one root.
What is written comes into place whole or not at all; a run that was killed is tidied up after by the next. s3://BUCKET/PREFIX, gs:// \
and az:// are object stores, with credentials from the environment.

Examples:
  indexer snapshot --output /backup/snapshots
  indexer snapshot --output s3://bucket/snapshots
  indexer snapshot --root ~/Media --output media.parquet
  indexer snapshot --root /srv --output srv.parquet --compat unix --json")]
    Snapshot(Snapshot),
    /// Show, check, thin out and roll the snapshots of a folder
    #[command(subcommand, arg_required_else_help = true)]
    Snapshots(Snapshots),
    /// Send snapshots to an engine of another process
    #[command(subcommand, arg_required_else_help = true)]
    Export(Exporting),
    /// Show what differs between two snapshots, or between one and the index
    #[command(after_help = "\
BEFORE and AFTER are each a .parquet file, a folder that `snapshot` wrote, a day as 2026-11-22, `latest`, or `now` for the index; or \
both are seqs of the journal, the second also `now`: then the records between them are put together, and no snapshot is needed.
A renamed directory is one line; what lies in it came along, and is told only where it changed otherwise. Bytes are those of what \
is no directory; a file with several names counts once. See docs/reports.md for what counts as modified.
Exit code 0: equal; 1: differences.

Examples:
  indexer diff 2026-11-01 latest
  indexer diff latest now --root ~/Media --by-dir 1
  indexer diff 120345 now --summary
  indexer diff old.parquet new.parquet --json
  indexer diff old.parquet now --top 20")]
    Diff(Diff),
    /// Add up what is there, from the index or from a snapshot
    #[command(subcommand, arg_required_else_help = true)]
    #[command(after_help = "\
Bytes are those of what is no directory, and a file with several names counts once a root. See docs/reports.md.
Exit code 0: done; 1: there is nothing to tell.

Examples:
  indexer report all --html storage.html
  indexer report types latest --root ~/Media
  indexer report growth --since 4w --by owner")]
    Report(Reporting),
    /// Give unused space inside the index file back
    #[command(after_help = "The daemon must not run meanwhile.\n\nExample:\n  indexer compact")]
    Compact,
    /// Check the index and the machine, and say what to do
    #[command(after_help = "Example:\n  indexer doctor --json")]
    Doctor,
    /// Decide about a root
    #[command(subcommand, arg_required_else_help = true)]
    Root(Root),
    /// Print a shell's completion script
    #[command(
        after_help = "Example:\n  indexer completions bash > ~/.local/share/bash-completion/completions/indexer"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the schema of messages, or tables for snapshots
    #[command(
        after_help = "Examples:\n  indexer schema json > message.schema.json\n  indexer schema asyncapi > asyncapi.json\n  indexer schema duckdb | duckdb files.db"
    )]
    Schema {
        /// Which
        #[arg(value_enum)]
        kind: SchemaArg,
    },
    /// Write the manual pages into a folder
    #[command(after_help = "Example:\n  indexer man ~/.local/share/man/man1")]
    Man {
        /// Folder, made if missing
        dir: PathBuf,
    },
}

/// `alerts …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Send a sample once, to see whether it arrives
    #[command(after_help = "\
The daemon sends it, if one runs, with its own environment and rights. Exit code 3 if it does not arrive.

Example:
  indexer alerts test films")]
    Test {
        /// Name of the rule
        rule: String,
    },
}

/// `root …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Root {
    /// Believe what is now at a root that was lost or changed too much, even if that removes everything
    #[command(after_help = "Example:\n  indexer root accept ~/Media")]
    Accept {
        /// The root, or the mount point that was lost
        path: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for line in ["indexer --state /s --json du /a", "indexer du /a --state /s --json"] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.global.state.as_deref(), Some(std::path::Path::new("/s")), "{line}");
            assert!(cli.global.json, "{line}");
        }
    }

    #[test]
    fn help_is_in_the_imperative_and_without_a_full_stop() {
        fn check(command: &clap::Command) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.ends_with('.'), "{}: {about}", command.get_name());
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{}: {help}", argument.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn find_takes_signed_sizes() {
        let cli = Cli::try_parse_from("indexer find / --size -4k --type f,d".split(' ')).unwrap();
        let Command::Find(find) = cli.command else { panic!("not find") };
        assert_eq!(find.size, Some((0, 4095)));
        assert_eq!(find.kinds, ["f", "d"]);
    }
}
