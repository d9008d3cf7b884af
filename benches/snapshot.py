#!/usr/bin/env python3
"""`indexer snapshot` against DuckDB and pyarrow, which write the same rows as Parquet with zstd.

    snapshot.py --indexer PATH --state FOLDER --other FOLDER --tree FOLDER --work FOLDER [--runs N] [--threads N] [--results FILE]

Also `indexer diff` of what two state folders hold, a report, rows straight from a walk of the tree, and how fast ClickHouse takes
the rows in. The state folder has the index of a tree and no daemon. Wall time of `indexer snapshot` is that of the whole command; of DuckDB's
COPY that of the statement alone, from a table of its own that was read before. In turn, after one round that is not counted.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import chdb
import chdb.session
import duckdb
import pyarrow.parquet

arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
arguments.add_argument("--indexer", required=True)
arguments.add_argument("--state", required=True)
arguments.add_argument("--other", required=True)
arguments.add_argument("--tree", required=True)
arguments.add_argument("--work", required=True)
arguments.add_argument("--runs", type=int, default=5)
arguments.add_argument("--threads", type=int, default=os.cpu_count())
arguments.add_argument("--results")
given = arguments.parse_args()

os.makedirs(given.work, exist_ok=True)
at = lambda name: os.path.join(given.work, name)


# By a small process between: what a process was before it became another counts as its peak, and this one holds a database.
RUN = """
import os, sys, time
begin = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null), 0)
print(os.waitstatus_to_exitcode(status), time.perf_counter() - begin, usage.ru_maxrss / 1024)
"""


def run(state, *words, codes=(0,)):
    """Seconds, and the peak resident set in MiB, of a command."""
    command = [given.indexer, "-q", "--state", state, *words]
    said = subprocess.run([sys.executable, "-S", "-c", RUN, *command], stdout=subprocess.PIPE, check=True).stdout
    code, wall, peak = map(float, said.split())
    if code not in codes:
        raise SystemExit(f"{' '.join(command)} ended with {code:.0f}")
    return wall, peak


def export(name, *flags, state=given.state):
    return run(state, "snapshot", "--force", "--output", at(name), "--threads", str(given.threads), *flags)


def copy(database, table, name):
    begin = time.perf_counter()
    database.execute(f"COPY {table} TO '{at(name)}' (FORMAT parquet, COMPRESSION zstd)")
    return time.perf_counter() - begin


export("ours.parquet")
export("unix.parquet", "--compat", "unix")
database = duckdb.connect(at("rows.duckdb"))
database.execute(f"SET threads = {given.threads}")
for table, name in [("every", "ours.parquet"), ("eleven", "unix.parquet")]:
    database.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM '{at(name)}'")
pyarrow.parquet.write_table(pyarrow.parquet.read_table(at("unix.parquet")), at("pyarrow.parquet"), compression="zstd")

export("other.parquet", state=given.other)


def ingest():
    """ClickHouse reads all rows into a table of its own."""
    session.query("DROP TABLE IF EXISTS rows")
    begin = time.perf_counter()
    query = "CREATE TABLE rows ENGINE = MergeTree ORDER BY path AS SELECT * FROM"
    session.query(f"{query} file('{at('ours.parquet')}', Parquet)")
    return time.perf_counter() - begin


session = chdb.session.Session(at("clickhouse"))
session.query(f"SET max_threads = {given.threads}")
memory = {}


def of(name, told):
    wall, peak = told
    memory[name] = max(memory.get(name, 0), peak)
    return wall


compared = [at("other.parquet"), at("ours.parquet")]
one_shot = ["scan", "--path", given.tree, "--output", at("walked.parquet"), "--force"]
turns = {
    "indexer snapshot": lambda: of("snapshot", export("ours.parquet")),
    "DuckDB COPY": lambda: copy(database, "every", "duckdb.parquet"),
    "indexer snapshot --compat unix": lambda: of("snapshot", export("unix.parquet", "--compat", "unix")),
    "DuckDB COPY of the eleven": lambda: copy(database, "eleven", "duckdb-eleven.parquet"),
    "indexer diff --summary": lambda: of("diff", run(given.state, "diff", *compared, "--summary", codes=(0, 1))),
    "indexer report types": lambda: of("report", run(given.state, "report", "types", at("ours.parquet"))),
    "indexer scan --path --output": lambda: of("one-shot scan", run(given.state, *one_shot)),
    "ClickHouse takes it in": ingest,
}
walls = {name: [] for name in turns}
for turn in range(given.runs + 1):
    for name, measure in turns.items():
        wall = measure()
        if turn > 0:
            walls[name].append(round(wall, 3))

median = {name: statistics.median(taken) for name, taken in walls.items()}
size = lambda name: os.path.getsize(at(name))
rows = database.execute("SELECT count(*) FROM every").fetchone()[0]
figures = {
    "rows": rows,
    "rows of the other": pyarrow.parquet.ParquetFile(at("other.parquet")).metadata.num_rows,
    "threads": given.threads,
    "snapshot to COPY": round(median["indexer snapshot"] / median["DuckDB COPY"], 3),
    "eleven columns to COPY": round(median["indexer snapshot --compat unix"] / median["DuckDB COPY of the eleven"], 3),
    **{f"peak RSS of {name}, MiB": round(peak, 1) for name, peak in memory.items()},
    "rows a second into ClickHouse": round(rows / median["ClickHouse takes it in"]),
    "bytes, all columns": size("ours.parquet"),
    "bytes, all columns, DuckDB": size("duckdb.parquet"),
    "bytes, eleven columns": size("unix.parquet"),
    "bytes, eleven columns, pyarrow": size("pyarrow.parquet"),
    "eleven columns to pyarrow": round(size("unix.parquet") / size("pyarrow.parquet"), 3),
}
for name, taken in walls.items():
    print(f"{name:34} {median[name]:8.3f} s   {taken}")
for name, figure in figures.items():
    print(f"{name:34} {figure:>12}")
if given.results:
    cpus = {line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")}
    line = {
        "scenario": "snapshot as Parquet",
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} × {' '.join(sorted(cpus))}",
        "unix_time": int(time.time()),
        "wall_s": walls,
        "figures": figures,
        "versions": {"duckdb": duckdb.__version__, "pyarrow": pyarrow.__version__, "chdb": chdb.__version__},
    }
    with open(given.results, "a") as results:
        results.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
