# Reads a table with Spark and Delta's own library, appends to it the rows with
# id < FROM again with BY added to the id, and prints one line of JSON.
#
#   spark.py TABLE FROM BY IVY_CACHE
import json, sys
from pyspark.sql import SparkSession

table, below, by, ivy = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
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
total = rows.selectExpr("count(*)", "sum(id)", "sum(st.y.score)", "sum(size(points)) filter (where points is not null)", "unix_micros(max(at))").collect()[0]
skipped = rows.where("id >= 30 and id < 50").count()  # by statistics
rows.where(f"id < {below}").withColumn("id", rows.id + by).write.format("delta").mode("append").save(table)
print(json.dumps({"count": total[0], "ids": total[1], "score": total[2], "points": total[3], "last": total[4], "skipped": skipped}))
