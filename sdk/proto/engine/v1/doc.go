// Package enginev1 is the generated code of engine.proto, the wire contract of engine
// plugins. Go authors implement the interface of sdk/engine instead.
package enginev1

//go:generate protoc -I sallyport=../.. --go_out=../.. --go_opt=module=github.com/sallyport-gateway/sallyport/sdk/proto --go-grpc_out=../.. --go-grpc_opt=module=github.com/sallyport-gateway/sallyport/sdk/proto sallyport/engine/v1/engine.proto
