-- Snapshots in ClickHouse, one node. `indexer schema clickhouse` prints this.

CREATE TABLE IF NOT EXISTS files
(
    host LowCardinality(String),
    root LowCardinality(String),
    date Date,
    `path` String,
    `path_raw` Nullable(String),
    `parent_path` LowCardinality(String),
    `name` String,
    `depth` Int32,
    `top_level_dir` LowCardinality(String),
    `kind` LowCardinality(String),
    `file_type` LowCardinality(Nullable(String)),
    `category` LowCardinality(Nullable(String)),
    `size` Int64,
    `allocated` Int64,
    `modified_time` Nullable(DateTime64(6, 'UTC')),
    `accessed_time` Nullable(DateTime64(6, 'UTC')),
    `created_time` Nullable(DateTime64(6, 'UTC')),
    `changed_time` Nullable(DateTime64(6, 'UTC')),
    `permissions` Int32,
    `uid` Int64,
    `gid` Int64,
    `owner` LowCardinality(Nullable(String)),
    `group` LowCardinality(Nullable(String)),
    `links` Int64,
    `inode` Int64,
    `volume` Int32,
    `digest` Nullable(FixedString(32)),
    `digest_kind` LowCardinality(Nullable(String)),
    `digest_time` Nullable(DateTime64(6, 'UTC')),
    PROJECTION directories
    (
        SELECT date, host, root, parent_path, count(), sum(size), sum(allocated)
        GROUP BY date, host, root, parent_path
    ),
    PROJECTION owners
    (
        SELECT date, host, root, owner, uid, count(), sum(size), sum(allocated)
        GROUP BY date, host, root, owner, uid
    ),
    PROJECTION types
    (
        SELECT date, host, root, file_type, count(), sum(size), sum(allocated)
        GROUP BY date, host, root, file_type
    )
)
ENGINE = MergeTree
PARTITION BY date
ORDER BY (host, root, path)
SETTINGS non_replicated_deduplication_window = 100000;
