package launch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registrytest"
	"github.com/tengil/tengil/plugins/sdk"
)

// The test program is also every plugin of the tests: under which name it is run
// decides.
func TestMain(m *testing.M) {
	if play, ok := plays[filepath.Base(os.Args[0])]; ok {
		play()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A faulty registry is the sample, that does something else where a function is set.
type faulty struct {
	*registrytest.Sample
	info    func() engine.RegistryInfo
	resolve func(ctx context.Context, ref string) (engine.Manifest, error)
	blob    func(ctx context.Context) (io.ReadCloser, error)
}

func (f faulty) Info(ctx context.Context) (engine.RegistryInfo, error) {
	if f.info != nil {
		return f.info(), nil
	}
	return f.Sample.Info(ctx)
}

func (f faulty) Resolve(ctx context.Context, ref, arch string) (engine.Manifest, error) {
	if f.resolve != nil {
		return f.resolve(ctx, ref)
	}
	return f.Sample.Resolve(ctx, ref, arch)
}

func (f faulty) Blob(ctx context.Context, ref string, d engine.Descriptor) (io.ReadCloser, error) {
	if f.blob != nil {
		return f.blob(ctx)
	}
	return f.Sample.Blob(ctx, ref, d)
}

func sample() *registrytest.Sample { return registrytest.NewSample("amd64", nil) }

// A twentyLines plugin has what an author must write, and no more.
type twentyLines struct{ s *registrytest.Sample }

func (t twentyLines) Info() sdk.Info {
	return sdk.Info{Name: "twenty-lines", Version: "0.1.0", Scheme: "twenty", Example: registrytest.SampleRef}
}

func (t twentyLines) Resolve(ctx context.Context, ref, arch string) (sdk.Manifest, error) {
	if ref != registrytest.SampleRef {
		return sdk.Manifest{}, sdk.NotFound("there is no %q", ref)
	}
	return t.s.Manifest, nil
}

func (t twentyLines) Blob(_ context.Context, _ string, d sdk.Descriptor) (io.ReadCloser, error) {
	data, ok := t.s.Blobs[d.Digest]
	if !ok {
		return nil, sdk.NotFound("there is no blob %s", d.Digest)
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// endless sends until nobody wants any more, and logs that it noticed.
type endless struct{ ctx context.Context }

func (e endless) Read(p []byte) (int, error) { return len(p), e.ctx.Err() }
func (e endless) Close() error               { log.Print("nobody reads any more"); return nil }

// silent sends one byte, and then nothing until it is closed.
type silent struct {
	closed chan struct{}
	begun  bool
}

func (s *silent) Read(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		return copy(p, "x"), nil
	}
	log.Print("says nothing more")
	<-s.closed
	return 0, errors.New("closed")
}

func (s *silent) Close() error { close(s.closed); return nil }

// crashing sends a little and ends the program.
type crashing struct{ n int }

func (c *crashing) Read(p []byte) (int, error) {
	if c.n++; c.n > 3 {
		println("panic: out of cheese") // as the runtime does, to the file itself
		os.Exit(3)
	}
	return copy(p, make([]byte, 1000)), nil
}

func (c *crashing) Close() error { return nil }

func serve(r engine.Registry) func() { return func() { sdk.ServeEngine(r) } }

var plays = map[string]func(){
	"good":         serve(sample()),
	"sample":       serve(sample()), // good, once installed
	"twenty-lines": func() { sdk.Serve(twentyLines{sample()}) },
	"chatty": func() {
		fmt.Println("welcome to my plugin")
		fmt.Print("|||\n1|\n")
		sdk.ServeEngine(faulty{Sample: sample(), resolve: func(context.Context, string) (engine.Manifest, error) {
			fmt.Println("printed while it works")
			log.Print("logged while it works")
			return sample().Manifest, nil
		}})
	},
	"garbage": func() {
		for {
			if _, err := fmt.Println(strings.Repeat("\x00\x1bgarbage", 100)); err != nil {
				return
			}
		}
	},
	"mute":    func() { time.Sleep(time.Hour) },
	"ends":    func() { fmt.Fprintln(os.Stderr, "no such module: cheese"); os.Exit(7) },
	"version": func() { fmt.Println("1|2|unix|/nowhere|grpc|" + strings.Repeat("A", 100)); time.Sleep(time.Hour) },
	"netrpc":  func() { fmt.Println("1|1|unix|/nowhere|netrpc|"); time.Sleep(time.Hour) },
	"plain":   func() { fmt.Println("1|1|unix|/nowhere|grpc|"); time.Sleep(time.Hour) },
	"badcert": func() { fmt.Println("1|1|unix|/nowhere|grpc|" + strings.Repeat("A", 100)); time.Sleep(time.Hour) },
	"remote":  func() { fmt.Println("1|1|tcp|192.0.2.1:1|grpc|" + strings.Repeat("A", 100)); time.Sleep(time.Hour) },
	"lying": serve(faulty{Sample: sample(), resolve: func(context.Context, string) (engine.Manifest, error) {
		m := sample().Manifest
		m.Digest = "sha256:" + strings.Repeat("0", 64)
		return m, nil
	}}),
	"endless": serve(faulty{Sample: sample(), blob: func(ctx context.Context) (io.ReadCloser, error) { return endless{ctx}, nil }}),
	"silent":  serve(faulty{Sample: sample(), blob: func(context.Context) (io.ReadCloser, error) { return &silent{closed: make(chan struct{})}, nil }}),
	"crashes": serve(faulty{Sample: sample(), blob: func(context.Context) (io.ReadCloser, error) { return &crashing{}, nil }}),
	"hangs": serve(faulty{Sample: sample(), resolve: func(context.Context, string) (engine.Manifest, error) {
		log.Print("hangs")
		time.Sleep(time.Hour)
		return engine.Manifest{}, nil
	}}),
	"dies": serve(faulty{Sample: sample(), resolve: func(_ context.Context, ref string) (engine.Manifest, error) {
		println("panic: it hurts")
		os.Exit(4)
		return engine.Manifest{}, nil
	}}),
	"huge": serve(faulty{Sample: sample(), resolve: func(context.Context, string) (engine.Manifest, error) {
		return engine.Manifest{Digest: "sha256:" + strings.Repeat("0", 64), Data: make([]byte, 10<<20)}, nil
	}}),
	"errors": serve(faulty{Sample: sample(), resolve: func(_ context.Context, ref string) (engine.Manifest, error) {
		return engine.Manifest{}, map[string]error{
			"missing":     sdk.NotFound("no %s", ref),
			"credentials": sdk.Unauthorized("wrong token"),
			"busy":        sdk.Busy(90*time.Second, "too many"),
			"temporary":   sdk.Temporary("out of order"),
			"other":       errors.New("it is\x1b broken"),
		}[ref]
	}}),
	"environ": func() {
		env := strings.Join(os.Environ(), "\n")
		sdk.ServeEngine(faulty{Sample: sample(),
			info: func() engine.RegistryInfo {
				i, _ := sample().Info(context.Background())
				i.Name, i.Env = "environ", []engine.RegistryEnv{{Name: "WANTED", Doc: "what it wants", Required: true}, {Name: "KEPT"}, {Name: "OTHER"}}
				return i
			},
			resolve: func(context.Context, string) (engine.Manifest, error) { return engine.Manifest{}, errors.New(env) },
		})
	},
}
