# Reads a Delta table with a program that is not ours, and prints one line of JSON
# with figures of its rows. Also appends to a table with delta-rs.
#
#   readers.py delta-rs TABLE          delta-rs and its own statistics-using query engine
#   readers.py chdb TABLE              ClickHouse with delta-kernel
#   readers.py duckdb TABLE FILE...    DuckDB over the live files
#   readers.py append TABLE FROM BY    appends the rows with id < FROM again, with BY added to the id
import decimal, json, os, sys

FIGURES = {  # of the columns that the table has; in plain SQL terms
    "count": (None, "count(*)"),
    "ids": ("id", "sum(id)"),
    "words": ("word", "count(distinct word)"),
    "parts": ("part", "count(distinct part)"),
    "score": ("st", "sum(st.y.score)"),
    "xs": ("xs", "sum(LEN(xs))"),
    "pairs": ("m", "sum(SIZE(m))"),
    "points": ("points", "sum(LEN(points))"),
    "nulls": ("s", "count(*) - count(s)"),
    "d38": ("d38", "sum(d38)"),
    "last": ("at", 'max("at")'),
    "invocations": ("invocation_id", "count(distinct invocation_id)"),
    "cost": ("cost_usd", "sum(cost_usd)"),  # to the last digit, as text
}


def figures(columns, run):
    """run turns a list of SQL expressions into a list of values."""
    names = [n for n, (c, _) in FIGURES.items() if c is None or c in columns]
    values = run([FIGURES[n][1] for n in names])
    out = dict(zip(names, values))
    for name in ("ids", "xs", "pairs", "points", "score", "d38"):
        if name in out:
            out[name] = round(float(out[name] or 0), 6)
    if "cost" in out:
        out["cost"] = str(decimal.Decimal(out["cost"] or 0).normalize())
    if not isinstance(out.get("last"), (int, type(None))):  # else it is in microseconds already
        t = out["last"]
        out["last"] = int(t.replace(microsecond=0).timestamp()) * 1_000_000 + t.microsecond
    return {k: (int(v) if isinstance(v, float) and v == int(v) else v) for k, v in out.items()}


def delta_rs(path):
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable, QueryBuilder

    dt = DeltaTable(path)
    t = pa.table(dt.to_pyarrow_table())
    columns = t.column_names

    def run(expressions):
        values = []
        for e in expressions:
            if e.startswith("sum(LEN("):
                values.append(pc.sum(pc.list_value_length(t[e[8:-2]])).as_py())
            elif e.startswith("sum(SIZE("):
                values.append(sum(len(x) for x in t[e[9:-2]].to_pylist() if x is not None))
            else:
                q = pa.table(QueryBuilder().register("t", dt).execute(f"select {e} as v from t").read_all())
                values.append(q["v"][0].as_py())
        return values

    return {"version": dt.version(), "files": len(dt.file_uris()), "adds": pa.table(dt.get_add_actions(flatten=True)).num_rows, **figures(columns, run)}


def in_chdb(path):
    os.chdir("/")  # it reads below its working directory only
    import chdb

    source = f"deltaLakeLocal('{path}')"
    columns = [json.loads(l)["name"] for l in str(chdb.query(f"describe {source}", "JSONEachRow")).splitlines()]

    def run(expressions):
        sql = [e.replace("count(distinct ", "uniqExact(").replace("LEN(", "length(").replace("SIZE(", "length(") for e in expressions]
        sql = [f"toUnixTimestamp64Micro({e})" if e.startswith("max(") else e for e in sql]
        sql = ", ".join(f"ifNull(toString({e}), 'NULL')" for e in sql)
        out = json.loads(str(chdb.query(f"select [{sql}] as v from {source}", "JSONEachRow")))["v"]
        return [None if v == "NULL" else v if "cost_usd" in e else float(v) if "." in v else int(v) for e, v in zip(expressions, out)]

    return figures(columns, run)


def in_duckdb(files):
    import duckdb

    source = "read_parquet([" + ", ".join(f"'{f}'" for f in files) + "], union_by_name = true, hive_partitioning = false)"
    columns = [r[0] for r in duckdb.execute(f"describe select * from {source}").fetchall()]

    def run(expressions):
        sql = [e.replace("LEN(", "len(").replace("SIZE(", "cardinality(") for e in expressions]
        sql = [f"epoch_us({e})" if e.startswith("max(") else e for e in sql]
        return list(duckdb.execute(f"select {', '.join(sql)} from {source}").fetchone())

    return figures(columns, run)


def append(path, below, by):
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable, write_deltalake

    t = pa.table(DeltaTable(path).to_pyarrow_table())
    t = t.filter(pc.less(t["id"], below))
    t = t.set_column(t.column_names.index("id"), t.schema.field("id"), pc.add(t["id"], by))
    write_deltalake(path, t, mode="append")
    return {"rows": t.num_rows}


command, path = sys.argv[1], sys.argv[2]
if command == "delta-rs":
    result = delta_rs(path)
elif command == "chdb":
    result = in_chdb(path)
elif command == "duckdb":
    result = in_duckdb(sys.argv[3:])
else:
    result = append(path, int(sys.argv[3]), int(sys.argv[4]))
print(json.dumps(result), flush=True)
os._exit(0)  # chdb's threads keep the interpreter alive
