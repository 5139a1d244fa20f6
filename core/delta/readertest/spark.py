# Reads a table with Spark and Delta's own library, and prints one line of JSON.
#
#   spark.py append TABLE FROM BY IVY_CACHE       figures of the tests' rows; then appends those with id < FROM again, with BY added to the id
#   spark.py figures TABLE EXPRESSION... IVY_CACHE    the values of SQL expressions over all rows, as text
import json, sys
from pyspark.sql import SparkSession

command, table, arguments, ivy = sys.argv[1], sys.argv[2], sys.argv[3:-1], sys.argv[-1]
spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.jars.packages", "io.delta:delta-spark_2.12:3.3.2")
    .config("spark.jars.ivy", ivy)
    .config("spark.ui.enabled", "false")
    .config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.shuffle.partitions", "1")
    .config("spark.databricks.delta.snapshotPartitions", "1")
    .config("spark.sql.session.timeZone", "UTC")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .getOrCreate()
)
rows = spark.read.format("delta").load(table)
if command == "figures":
    values = rows.selectExpr(*(f"cast({e} as string)" for e in arguments)).collect()[0]
    print(json.dumps({e: v for e, v in zip(arguments, values)}))
    sys.exit()
below, by = int(arguments[0]), int(arguments[1])
total = rows.selectExpr("count(*)", "sum(id)", "sum(st.y.score)", "sum(size(points)) filter (where points is not null)", "unix_micros(max(at))").collect()[0]
skipped = rows.where("id >= 30 and id < 50").count()  # by statistics
rows.where(f"id < {below}").withColumn("id", rows.id + by).write.format("delta").mode("append").save(table)
print(json.dumps({"count": total[0], "ids": total[1], "score": total[2], "points": total[3], "last": total[4], "skipped": skipped}))
