#!/bin/sh
# Writes what protoc makes of registry.proto to the folder $1. The plugins of protoc
# are tools of go.mod.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
PATH=$bin:$PATH protoc --go_out="$1" --go_opt=paths=source_relative --go-grpc_out="$1" --go-grpc_opt=paths=source_relative registry.proto
# Which protoc it was says nothing of the code.
sed -i '/^\/\/ [ -]*protoc  *v/d' "$1"/registry.pb.go "$1"/registry_grpc.pb.go
