package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registryv1"
)

// Serve serves r until tg ends the plugin, or has ended. It is the last thing that
// main does. What the plugin prints, on standard output and standard error, and what
// it logs become events of tg.
func Serve(r Registry) { ServeEngine(Adapt(r)) }

// ServeEngine is Serve for a Registry that decides itself what it can do.
func ServeEngine(r engine.Registry) {
	if os.Getenv(registryv1.CookieKey) != registryv1.CookieValue {
		fmt.Fprintf(os.Stderr, "%s is a plugin of tengil, which tg starts itself. To install it:\n    tg plugins install %[1]s\n", filepath.ToSlash(os.Args[0]))
		os.Exit(2)
	}
	go func() { // standard input ends with tg, however that ends
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: registryv1.CookieKey, MagicCookieValue: registryv1.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{registryv1.Version: {"registry": service{r: r}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr, JSONFormat: true}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(engine.MaxManifest))...)
		},
	})
}

type service struct {
	plugin.NetRPCUnsupportedPlugin
	r engine.Registry
}

func (s service) GRPCServer(_ *plugin.GRPCBroker, to *grpc.Server) error {
	registryv1.RegisterRegistryServer(to, server{r: s.r})
	return nil
}

func (s service) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("a plugin is nobody's client")
}

type server struct {
	registryv1.UnimplementedRegistryServer
	r engine.Registry
}

func (s server) Info(ctx context.Context, _ *registryv1.InfoRequest) (*registryv1.InfoResponse, error) {
	i, err := s.r.Info(ctx)
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := &registryv1.InfoResponse{Name: i.Name, Version: i.Version, Scheme: i.Scheme, Doc: i.Doc, Hosts: i.Hosts, Example: i.Example}
	for _, p := range i.Can {
		out.Can = append(out.Can, registryv1.Powers[p])
	}
	for _, e := range i.Env {
		out.Env = append(out.Env, &registryv1.EnvVar{Name: e.Name, Doc: e.Doc, Required: e.Required, Secret: e.Secret})
	}
	return out, nil
}

func (s server) Resolve(ctx context.Context, q *registryv1.ResolveRequest) (*registryv1.ResolveResponse, error) {
	m, err := s.r.Resolve(ctx, q.Ref, q.Arch)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return &registryv1.ResolveResponse{Digest: m.Digest, MediaType: m.MediaType, Manifest: m.Data}, nil
}

func (s server) Tags(ctx context.Context, q *registryv1.TagsRequest) (*registryv1.TagsResponse, error) {
	tags, err := s.r.Tags(ctx, q.Repository)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return &registryv1.TagsResponse{Tags: tags}, nil
}

func (s server) Search(ctx context.Context, q *registryv1.SearchRequest) (*registryv1.SearchResponse, error) {
	found, err := s.r.Search(ctx, q.Words, int(q.Limit))
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := &registryv1.SearchResponse{}
	for _, f := range found {
		out.Found = append(out.Found, &registryv1.Found{Ref: f.Ref, Doc: f.Doc})
	}
	return out, nil
}

func (s server) Source(ctx context.Context, q *registryv1.SourceRequest) (*registryv1.SourceResponse, error) {
	at, err := s.r.Source(ctx, q.Ref, Manifest{Digest: q.Digest})
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := &registryv1.SourceResponse{Reference: at.Reference, Username: at.Username, Password: at.Password.Reveal()}
	if !at.Expires.IsZero() {
		out.Expires = at.Expires.Unix()
	}
	return out, nil
}

func (s server) Blob(q *registryv1.BlobRequest, to grpc.ServerStreamingServer[registryv1.BlobChunk]) error {
	ctx := to.Context()
	d := q.GetBlob()
	r, err := s.r.Blob(ctx, q.Ref, Descriptor{MediaType: d.GetMediaType(), Digest: d.GetDigest(), Size: d.GetSize()})
	if err != nil {
		return failed(ctx, err)
	}
	shut := sync.OnceValue(r.Close)
	defer shut()
	defer context.AfterFunc(ctx, func() { _ = shut() })() // ends a Read that waits
	buf := make([]byte, registryv1.MaxChunk/4)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := to.Send(&registryv1.BlobChunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return failed(ctx, err)
		}
	}
}

// failed returns the status that tells err, as registry.proto says.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	code := codes.Unknown
	var busy *engine.BusyError
	switch {
	case errors.As(err, &busy):
		code = codes.ResourceExhausted
		after := (busy.After + time.Second - 1) / time.Second
		_ = grpc.SetTrailer(ctx, metadata.Pairs(registryv1.RetryAfter, strconv.FormatInt(int64(after), 10)))
	case errors.Is(err, fs.ErrNotExist):
		code = codes.NotFound
	case errors.Is(err, engine.ErrUnauthorized):
		code = codes.Unauthenticated
	case errors.Is(err, engine.ErrTransient):
		code = codes.Aborted
	case errors.Is(err, errors.ErrUnsupported):
		code = codes.Unimplemented
	}
	return status.Error(code, err.Error())
}
