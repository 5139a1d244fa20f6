#!/bin/sh
# Writes the Python code of the .proto files that a plugin needs. Needs protoc.
# Use protoc 3.21: what it writes works with the runtime of protobuf 4.21 and
# of every later version; a newer protoc's asks for a runtime as new as itself.
set -eu
cd "$(dirname "$0")"
protos="engine/v1/engine tool/v1/tool provider/v1/provider base/v1/base"
out=src/sallyport_plugin/_proto
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
for p in $protos; do
	protoc -I "sallyport=../proto" --python_out="$made" "sallyport/$p.proto"
	file=$out/$(basename "$p")_pb2.py
	# The modules lie side by side in one package.
	sed 's/^from sallyport\.engine\.v1 import engine_pb2 as/from . import engine_pb2 as/' "$made/sallyport/${p}_pb2.py" > "$file"
done
