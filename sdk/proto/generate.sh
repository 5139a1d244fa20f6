#!/bin/sh
# Writes the Go code of every .proto file under this directory. Needs protoc,
# protoc-gen-go and protoc-gen-go-grpc on the PATH. Import paths begin with
# sallyport/, so that no other project's file can have the same name.
set -eu
cd "$(dirname "$0")"
module=github.com/sallyport-gateway/sallyport/sdk/proto
protoc -I sallyport=. --go_out=. --go_opt=module="$module" \
	--go-grpc_out=. --go-grpc_opt=module="$module" \
	$(find . -name '*.proto' | sort | sed 's|^\./|sallyport/|')
