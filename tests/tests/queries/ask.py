"""Fills the tables of a page of queries as the page says, and asks all of it. Prints {engine: {heading: rows}} as JSON.

    ask.py PAGE DUCKDB-TABLE CLICKHOUSE-TABLE      in the folder that has `snapshots`
"""

import json
import re
import sys

import chdb.session
import duckdb

page = open(sys.argv[1]).read()
answers = {"DuckDB": {}, "ClickHouse": {}}

ours = duckdb.connect()
ours.execute(open(sys.argv[2]).read())
fill = re.search(r'files.db "(INSERT .*)"', page).group(1)
ours.execute(fill.replace("/backup/snapshots", "snapshots"))
theirs = chdb.session.Session("clickhouse")
# Statements end where a line does.
for statement in filter(str.strip, open(sys.argv[3]).read().split(";\n")):
    theirs.query(statement)
theirs.query(re.search(r"\n    (INSERT INTO files SELECT .*?)\n\n", page, re.DOTALL).group(1))


def plain(cell):
    return cell if cell is None or isinstance(cell, str) else int(cell)


for section in page.split("\n## ")[1:]:
    heading = section.split("\n")[0]
    queries = re.findall(r"(DuckDB|ClickHouse):\n\n```sql\n(.*?);\n```", section, re.DOTALL)
    assert [engine for engine, _ in queries] == ["DuckDB", "ClickHouse"], heading
    for engine, query in queries:
        if engine == "DuckDB":
            asked = ours.execute(query)
            names = [column[0] for column in asked.description]
            rows = [dict(zip(names, map(plain, row))) for row in asked.fetchall()]
        else:
            told = str(theirs.query(query, "JSONEachRow"))
            rows = [{name: plain(cell) for name, cell in json.loads(line).items()} for line in told.splitlines()]
            # 64 bits are words in its JSON.
            rows = [{name: int(cell) if re.fullmatch(r"-?\d+", str(cell)) else cell for name, cell in row.items()} for row in rows]
        answers[engine][heading] = rows
print(json.dumps(answers))
