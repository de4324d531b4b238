// gRPC's own interoperability tests. `interop serve` prints the port of a server and serves until its standard input ends;
// `interop call ADDRESS` makes each call and prints a line for it. What goes wrong ends the program with a message.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// Of all calls together.
const callsTimeout = 30 * time.Second

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		serve()
	case len(os.Args) == 3 && os.Args[1] == "call":
		call(os.Args[2])
	default:
		log.Fatal("usage: interop serve | interop call ADDRESS")
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	if err := server.Serve(listener); err != nil {
		log.Fatal(err)
	}
}

func call(address string) {
	ctx, cancel := context.WithTimeout(context.Background(), callsTimeout)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := testgrpc.NewTestServiceClient(connection)
	type one func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
	for _, it := range []struct {
		name string
		do   one
	}{
		{"empty_unary", interop.DoEmptyUnaryCall},
		{"large_unary", interop.DoLargeUnaryCall},
		{"client_streaming", interop.DoClientStreaming},
		{"server_streaming", interop.DoServerStreaming},
		{"ping_pong", interop.DoPingPong},
		{"empty_stream", interop.DoEmptyStream},
		{"timeout_on_sleeping_server", interop.DoTimeoutOnSleepingServer},
		{"cancel_after_begin", interop.DoCancelAfterBegin},
		{"cancel_after_first_response", interop.DoCancelAfterFirstResponse},
		{"custom_metadata", interop.DoCustomMetadata},
		{"status_code_and_message", interop.DoStatusCodeAndMessage},
		{"special_status_message", interop.DoSpecialStatusMessage},
	} {
		it.do(ctx, client)
		fmt.Println(it.name)
	}
	interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(connection))
	fmt.Println("unimplemented_service")
	interop.DoUnimplementedMethod(ctx, connection)
	fmt.Println("unimplemented_method")
}
