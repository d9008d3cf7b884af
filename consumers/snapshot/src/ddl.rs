//! Tables that hold snapshots of many hosts, roots and days, in the words of engines. Knows the columns, and asks no engine.

use std::fmt::Write as _;

use crate::columns::{Columns, Sort, Spec};

/// Which dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ClickHouse, one node.
    ClickHouse,
    /// ClickHouse, shards and replicas.
    ClickHouseCluster,
    /// DuckDB.
    DuckDb,
}

/// Statements that make the table `files`.
#[must_use]
pub fn table(dialect: Dialect) -> String {
    match dialect {
        Dialect::ClickHouse => {
            let head = "-- Snapshots in ClickHouse, one node. `indexer schema clickhouse` prints this.\n\n";
            format!("{head}{};\n", one_node("files"))
        }
        Dialect::ClickHouseCluster => {
            let head = "-- Snapshots in ClickHouse, shards and replicas; `{cluster}`, `{shard}` and `{replica}` are macros of the servers'\n\
                        -- configuration. `indexer schema clickhouse-cluster` prints this.\n\n";
            let end = "ENGINE = ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')\nPARTITION BY date\n\
                       ORDER BY (host, root, path);\n";
            // What lies right in a directory, and all names of most files, are on one shard.
            let over = "-- To ask, and to write to.\nCREATE TABLE IF NOT EXISTS files ON CLUSTER '{cluster}' AS files_local\n\
                        ENGINE = Distributed('{cluster}', currentDatabase(), files_local, cityHash64(host, root, parent_path));\n";
            format!(
                "{head}CREATE TABLE IF NOT EXISTS files_local ON CLUSTER '{{cluster}}'\n(\n{}\n)\n{end}\n{over}",
                clickhouse_columns()
            )
        }
        Dialect::DuckDb => {
            let mut columns =
                vec!["host VARCHAR".to_owned(), "root VARCHAR".to_owned(), "date DATE".to_owned()];
            columns.extend(Columns::Native.specs().iter().map(|spec| {
                let null = if spec.nullable { "" } else { " NOT NULL" };
                format!("{} {}{null}", quoted(spec.name), duckdb(spec.sort))
            }));
            let columns: Vec<String> = columns.iter().map(|column| format!("    {column}")).collect();
            format!(
                "-- Snapshots in DuckDB. `indexer schema duckdb` prints this.\n\n\
                 CREATE TABLE IF NOT EXISTS files\n(\n{}\n);\n\n\
                 -- What `indexer snapshot` and `indexer snapshots roll` write to FOLDER:\n\
                 -- INSERT INTO files BY NAME SELECT * FROM read_parquet('FOLDER/host=*/root=*/date=*/*.parquet', hive_partitioning = true);\n",
                columns.join(",\n")
            )
        }
    }
}

/// The statement that makes the table on one node, of that name as SQL has it.
pub(crate) fn one_node(name: &str) -> String {
    // A batch that is sent again is known by its token.
    let end = "ENGINE = MergeTree\nPARTITION BY date\nORDER BY (host, root, path)\n\
               SETTINGS non_replicated_deduplication_window = 100000";
    format!("CREATE TABLE IF NOT EXISTS {name}\n(\n{}\n)\n{end}", clickhouse_columns())
}

/// Names and types of all columns.
pub(crate) fn clickhouse_types() -> Vec<(&'static str, String)> {
    let word = || "LowCardinality(String)".to_owned();
    let mut types = vec![("host", word()), ("root", word()), ("date", "Date".to_owned())];
    types.extend(Columns::Native.specs().iter().map(|spec| (spec.name, clickhouse(spec))));
    types
}

fn clickhouse_columns() -> String {
    let mut lines = vec![
        "    host LowCardinality(String)".to_owned(),
        "    root LowCardinality(String)".to_owned(),
        "    date Date".to_owned(),
    ];
    lines.extend(
        Columns::Native.specs().iter().map(|spec| format!("    `{}` {}", spec.name, clickhouse(spec))),
    );
    let mut text = lines.join(",\n");
    for (name, by) in [("directories", "parent_path"), ("owners", "owner, uid"), ("types", "file_type")] {
        let _ = write!(
            text,
            ",\n    PROJECTION {name}\n    (\n        SELECT date, host, root, {by}, count(), sum(size), sum(allocated)\n        GROUP BY date, host, root, {by}\n    )"
        );
    }
    text
}

fn clickhouse(spec: &Spec) -> String {
    let plain = match spec.sort {
        Sort::Text | Sort::Bytes | Sort::Word => "String",
        Sort::Int32 => "Int32",
        Sort::Int64 => "Int64",
        Sort::UInt32 => "UInt32",
        Sort::UInt64 => "UInt64",
        Sort::Time => "DateTime64(6, 'UTC')",
        Sort::Digest => "FixedString(32)",
    };
    let sort = if spec.nullable { format!("Nullable({plain})") } else { plain.to_owned() };
    if spec.sort == Sort::Word { format!("LowCardinality({sort})") } else { sort }
}

fn duckdb(sort: Sort) -> &'static str {
    match sort {
        Sort::Text | Sort::Word => "VARCHAR",
        Sort::Bytes | Sort::Digest => "BLOB",
        Sort::Int32 => "INTEGER",
        Sort::Int64 => "BIGINT",
        Sort::UInt32 => "UINTEGER",
        Sort::UInt64 => "UBIGINT",
        Sort::Time => "TIMESTAMPTZ",
    }
}

/// `group` is a word of SQL.
fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
