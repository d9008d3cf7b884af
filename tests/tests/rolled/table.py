"""What engines make of the Delta table in a folder: of each its rows by date, as JSON. ClickHouse reads what lies in its own folder alone."""

import json
import sys
from collections import Counter

import chdb
import deltalake
import polars

folder = sys.argv[1]

told = {}
told["polars"] = Counter(str(day) for day in polars.scan_delta(folder).select("date").collect()["date"])
dates = deltalake.DeltaTable(folder)
told["delta-rs"] = Counter({})
for action in dates.get_add_actions(flatten=True).to_struct_array().to_pylist():
    told["delta-rs"][str(action["partition.date"])] += action["num_records"]
rows = chdb.query(f"SELECT toString(date), count() FROM deltaLakeLocal('{folder}') GROUP BY date", "JSONCompactEachRow")
told["clickhouse"] = {day: int(number) for day, number in map(json.loads, str(rows).splitlines())}
frame = polars.scan_delta(folder).collect()
told["columns"] = [f"{name} {kind}" for name, kind in frame.schema.items()]
told["roots"] = sorted(set(frame["root"]))
told["bytes"] = int(frame["size"].sum())
print(json.dumps(told))
