// Package toolv1 is the generated code of tool.proto, the wire contract of tool
// plugins. Go authors implement the interface of sdk/tool instead.
package toolv1

//go:generate protoc -I sallyport=../.. --go_out=../.. --go_opt=module=github.com/sallyport-gateway/sallyport/sdk/proto --go-grpc_out=../.. --go-grpc_opt=module=github.com/sallyport-gateway/sallyport/sdk/proto sallyport/tool/v1/tool.proto
