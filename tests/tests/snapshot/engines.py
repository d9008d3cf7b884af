"""Reads a Parquet file with every engine there is and compares each row with those on stdin, one JSON array a line: numbers, times as
microseconds, bytes in hex. Prints what each engine made of it as JSON. With a second argument, a folder in Hive layout, also what
they read as its root."""

import json
import sys
from itertools import zip_longest

import chdb
import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.parquet


def by_duckdb(file):
    query = duckdb.connect()
    columns = query.execute("DESCRIBE SELECT * FROM read_parquet(?)", [file]).fetchall()

    def told(name, kind):
        if kind.startswith("TIMESTAMP"):
            return f'epoch_us("{name}")'
        return f'lower(hex("{name}"))' if kind == "BLOB" else f'"{name}"'

    select = ", ".join(told(name, kind) for name, kind, *_ in columns)
    return query.execute(f"SELECT {select} FROM read_parquet(?)", [file]).fetchall()


def by_polars(file):
    frame = polars.read_parquet(file, hive_partitioning=False)
    told = []
    for name, kind in frame.schema.items():
        column = polars.col(name)
        if isinstance(kind, polars.Datetime):
            assert (kind.time_unit, kind.time_zone) == ("us", "UTC"), kind
            column = column.cast(polars.Int64)
        elif kind == polars.Binary:
            column = column.bin.encode("hex")
        told.append(column)
    return frame.select(told).rows()


def by_pyarrow(file):
    table = pyarrow.parquet.ParquetFile(file).read()
    told = []
    for column in table.columns:
        if pyarrow.types.is_timestamp(column.type):
            assert (column.type.unit, column.type.tz) == ("us", "UTC"), column.type
            column = column.cast(pyarrow.int64())
        values = column.to_pylist()
        if pyarrow.types.is_binary(column.type) or pyarrow.types.is_fixed_size_binary(column.type):
            values = [value if value is None else value.hex() for value in values]
        told.append(values)
    return list(zip(*told))


def by_clickhouse(file):
    source = f"file('{file}', Parquet)"
    columns = str(chdb.query(f"DESCRIBE TABLE {source}", "JSONCompactEachRow")).splitlines()

    def told(name, kind):
        if "DateTime64" in kind:
            assert "DateTime64(6, 'UTC')" in kind, kind
            return f"toUnixTimestamp64Micro(`{name}`)"
        return f"lower(hex(`{name}`))" if name in ("path_raw", "digest") else f"`{name}`"

    # The type comes after the name.
    columns = [json.loads(line)[:2] for line in columns]
    # hex() of what is NULL is NULL.
    select = ", ".join(told(name, kind) for name, kind in columns)
    order = "SETTINGS max_threads = 1, output_format_json_quote_64bit_integers = 0"
    said = str(chdb.query(f"SELECT {select} FROM {source} {order}", "JSONCompactEachRow"))
    return [json.loads(line) for line in said.split("\n") if line]


def roots(folder):
    everything = f"{folder}/**/*.parquet"
    select = "SELECT DISTINCT root FROM read_parquet(?, hive_partitioning = true) ORDER BY root"
    return {
        "duckdb": [root for (root,) in duckdb.connect().execute(select, [everything]).fetchall()],
        "polars": sorted(polars.scan_parquet(everything, hive_partitioning=True).collect()["root"].unique()),
        "pyarrow": sorted(
            pyarrow.dataset.dataset(folder, partitioning="hive").to_table()["root"].unique().to_pylist()
        ),
    }


def main(file, folder=None):
    expected = [json.loads(line) for line in sys.stdin]
    said = {}
    for engine in (by_duckdb, by_polars, by_pyarrow, by_clickhouse):
        rows = [list(row) for row in engine(file)]
        wrong = next((pair for pair in zip_longest(rows, expected) if pair[0] != pair[1]), None)
        said[engine.__name__] = {"rows": len(rows), "wrong": wrong}
    if folder:
        said["roots"] = roots(folder)
    print(json.dumps(said))


main(*sys.argv[1:])
