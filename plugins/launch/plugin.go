package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registryv1"
)

// A Plugin is an engine.Registry that runs as a process: started at the first call,
// and once more if it ends or hangs. Close ends it.
type Plugin struct {
	name, file string
	sum        string // "" for a file that is not installed
	info       engine.RegistryInfo
	env        map[string]string
	o          Options

	mu     sync.Mutex
	proc   *process
	starts int
	over   error // why it is not started any more
}

// maxStarts is how often a plugin is started in one run.
const maxStarts = 2

// running returns the process, which it starts if there is none.
func (p *Plugin) running(ctx context.Context) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil || p.over != nil {
		return p.proc, p.over
	}
	p.starts++
	proc, err := p.start(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.over = err
		} else {
			p.starts--
		}
		return nil, err
	}
	p.proc = proc
	return proc, nil
}

// drop ends a process that is of no use any more, for the reason why.
func (p *Plugin) drop(proc *process, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != proc {
		return // somebody else did
	}
	p.proc = nil
	_ = proc.kill()
	if p.starts >= maxStarts {
		p.over = fmt.Errorf("it was started %d times and is not started again: %w", p.starts, why)
	}
}

// Close ends the plugin, if it runs.
func (p *Plugin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == nil {
		p.over = errors.New("it was closed")
	}
	if p.proc == nil {
		return nil
	}
	err := p.proc.stop()
	p.proc = nil
	return err
}

// call asks the plugin. A plugin that ended is started and asked once more.
func call[T any](ctx context.Context, p *Plugin, what string, do func(ctx context.Context, proc *process, trailer *metadata.MD) (T, error)) (T, error) {
	var none T
	named := func(err error) error { return fmt.Errorf("plugin %s: %s%w", p.name, what, err) }
	for again := true; ; again = false {
		if err := ctx.Err(); err != nil {
			return none, err
		}
		proc, err := p.running(ctx)
		if err != nil {
			return none, named(err)
		}
		var md metadata.MD
		asked, done := p.o.Deadline(ctx, p.o.Call, &engine.TimeoutError{After: p.o.Call})
		v, err := do(asked, proc, &md)
		late := engine.TimedOut(asked)
		done()
		switch {
		case err == nil:
			return v, nil
		case late && ctx.Err() == nil:
			err = fmt.Errorf("no answer in %s; it was ended", p.o.Call)
			p.drop(proc, err)
			return none, named(err)
		case ctx.Err() != nil:
			return none, context.Cause(ctx)
		case status.Code(err) == codes.Unavailable:
			err = proc.broken()
			p.drop(proc, err)
			if again && p.mayStart() {
				continue
			}
			return none, named(err)
		}
		return none, named(meaning(err, md))
	}
}

func (p *Plugin) mayStart() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over == nil
}

// broken says how a process ended whose connection is gone.
func (proc *process) broken() error {
	if !proc.waits(grace) {
		return errors.New("it has closed its connection")
	}
	how, _ := proc.child.ended()
	return fmt.Errorf("it ended, %s%s", how, proc.child.printed())
}

// meaning returns the error that a status tells, see registry.proto.
func meaning(err error, trailer metadata.MD) error {
	said := errors.New(statusText(err))
	switch status.Code(err) {
	case codes.NotFound:
		return also(said, fs.ErrNotExist)
	case codes.Unauthenticated, codes.PermissionDenied:
		return also(said, engine.ErrUnauthorized)
	case codes.Aborted:
		return engine.Transient(said)
	case codes.Unimplemented:
		return also(said, errors.ErrUnsupported)
	case codes.ResourceExhausted:
		// gRPC itself says so of a message that is too large.
		if after := trailer.Get(registryv1.RetryAfter); len(after) == 1 {
			seconds, err := strconv.ParseUint(after[0], 10, 16)
			if err != nil {
				return fmt.Errorf("%w (and it names %q as the seconds to wait)", said, engine.Shown(after[0], 20))
			}
			return &engine.BusyError{Err: said, After: time.Duration(seconds) * time.Second}
		}
	}
	return said
}

// statusText returns what a plugin said, which is not trusted to be short or plain.
func statusText(err error) string { return engine.Shown(status.Convert(err).Message(), 1000) }

// also returns err, which then also matches kind.
func also(err, kind error) error { return &classed{err, kind} }

type classed struct{ err, kind error }

func (c *classed) Error() string   { return c.err.Error() }
func (c *classed) Unwrap() []error { return []error{c.err, c.kind} }

// Info implements engine.Registry. An installed plugin has said so when it was
// installed, and is not started for it.
func (p *Plugin) Info(ctx context.Context) (engine.RegistryInfo, error) {
	if p.sum != "" {
		return p.info, ctx.Err()
	}
	return call(ctx, p, "", func(ctx context.Context, proc *process, trailer *metadata.MD) (engine.RegistryInfo, error) {
		said, err := proc.api.Info(ctx, &registryv1.InfoRequest{}, grpc.Trailer(trailer))
		if err != nil {
			return engine.RegistryInfo{}, err
		}
		i := engine.RegistryInfo{Name: said.Name, Version: said.Version, Scheme: said.Scheme, Doc: said.Doc, Hosts: said.Hosts, Example: said.Example}
		for _, can := range said.Can {
			i.Can = append(i.Can, powerOf(can))
		}
		for _, e := range said.Env {
			i.Env = append(i.Env, engine.RegistryEnv{Name: e.Name, Doc: e.Doc, Required: e.Required, Secret: e.Secret})
		}
		return i, nil
	})
}

func powerOf(can registryv1.Power) engine.RegistryPower {
	for p, c := range registryv1.Powers {
		if c == can {
			return p
		}
	}
	return engine.RegistryPower(can.String())
}

// Resolve implements engine.Registry. The manifest has the digest that it says.
func (p *Plugin) Resolve(ctx context.Context, ref, arch string) (engine.Manifest, error) {
	what := fmt.Sprintf("resolve %q: ", engine.Shown(ref, 200))
	m, err := call(ctx, p, what, func(ctx context.Context, proc *process, trailer *metadata.MD) (engine.Manifest, error) {
		said, err := proc.api.Resolve(ctx, &registryv1.ResolveRequest{Ref: ref, Arch: arch}, grpc.Trailer(trailer))
		if err != nil {
			return engine.Manifest{}, err
		}
		m := engine.Manifest{Digest: said.Digest, MediaType: said.MediaType}
		if len(said.Manifest) > 0 {
			m.Data = said.Manifest
		}
		return m, nil
	})
	if err == nil {
		if err = m.Check(); err != nil {
			return engine.Manifest{}, fmt.Errorf("plugin %s: %s%w", p.name, what, err)
		}
	}
	return m, err
}

// Tags implements engine.Registry.
func (p *Plugin) Tags(ctx context.Context, repository string) ([]string, error) {
	return call(ctx, p, fmt.Sprintf("tags of %q: ", engine.Shown(repository, 200)), func(ctx context.Context, proc *process, trailer *metadata.MD) ([]string, error) {
		said, err := proc.api.Tags(ctx, &registryv1.TagsRequest{Repository: repository}, grpc.Trailer(trailer))
		return said.GetTags(), err
	})
}

// Search implements engine.Registry.
func (p *Plugin) Search(ctx context.Context, words string, limit int) ([]engine.FoundImage, error) {
	return call(ctx, p, fmt.Sprintf("search %q: ", engine.Shown(words, 200)), func(ctx context.Context, proc *process, trailer *metadata.MD) ([]engine.FoundImage, error) {
		said, err := proc.api.Search(ctx, &registryv1.SearchRequest{Words: words, Limit: int32(min(limit, 1000))}, grpc.Trailer(trailer))
		if err != nil {
			return nil, err
		}
		var found []engine.FoundImage
		for _, f := range said.Found {
			found = append(found, engine.FoundImage{Ref: f.Ref, Doc: f.Doc})
		}
		return found, nil
	})
}

// Source implements engine.Registry.
func (p *Plugin) Source(ctx context.Context, ref string, m engine.Manifest) (engine.ImageSource, error) {
	return call(ctx, p, fmt.Sprintf("source of %q: ", engine.Shown(ref, 200)), func(ctx context.Context, proc *process, trailer *metadata.MD) (engine.ImageSource, error) {
		said, err := proc.api.Source(ctx, &registryv1.SourceRequest{Ref: ref, Digest: m.Digest}, grpc.Trailer(trailer))
		if err != nil {
			return engine.ImageSource{}, err
		}
		at := engine.ImageSource{Reference: said.Reference, Username: said.Username, Password: engine.Secret(said.Password)}
		if said.Expires != 0 {
			at.Expires = time.Unix(said.Expires, 0)
		}
		return at, nil
	})
}

// Blob implements engine.Registry. What is read is checked against the descriptor:
// its end is io.EOF only if it was that.
func (p *Plugin) Blob(ctx context.Context, ref string, d engine.Descriptor) (io.ReadCloser, error) {
	what := fmt.Sprintf("blob %s of %q: ", engine.Shown(d.Digest, 100), engine.Shown(ref, 200))
	return call(ctx, p, what, func(asked context.Context, proc *process, trailer *metadata.MD) (io.ReadCloser, error) {
		// The stream outlives the time that the first answer may take.
		whole, cancel := context.WithCancelCause(ctx)
		from, err := proc.api.Blob(whole, &registryv1.BlobRequest{Ref: ref, Blob: &registryv1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}})
		if err != nil {
			cancel(nil)
			return nil, err
		}
		s := &stream{p: p, proc: proc, name: "plugin " + p.name + ": " + what, ctx: whole, cancel: cancel, from: from}
		stop := context.AfterFunc(asked, func() { cancel(context.Cause(asked)) })
		chunk, err := from.Recv()
		stop()
		if err != nil && !errors.Is(err, io.EOF) {
			*trailer = from.Trailer()
			cancel(nil)
			return nil, err
		}
		s.rest, s.err = chunk.GetData(), err
		s.content = d.Verify(io.NopCloser(readerFunc(s.receive)))
		return s, nil
	})
}

// A stream is a blob that is on its way.
type stream struct {
	p      *Plugin
	proc   *process
	name   string
	ctx    context.Context //nolint:containedctx // a stream belongs to one call
	cancel context.CancelCauseFunc
	from   grpc.ServerStreamingClient[registryv1.BlobChunk]

	content io.Reader // of receive, checked
	rest    []byte
	err     error
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Read implements io.Reader. Errors name the plugin.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.content.Read(b)
	if errors.Is(err, io.EOF) || err == nil || errors.Is(err, context.Canceled) {
		return n, err
	}
	return n, fmt.Errorf("%s%w", s.name, err)
}

// receive is Read before the content is checked.
func (s *stream) receive(b []byte) (int, error) {
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.rest, s.err = s.next()
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// next waits for the next chunk.
func (s *stream) next() ([]byte, error) {
	waits, done := s.p.o.Deadline(s.ctx, s.p.o.Stall, &engine.TimeoutError{After: s.p.o.Stall})
	defer done()
	defer context.AfterFunc(waits, func() { s.cancel(context.Cause(waits)) })()
	chunk, err := s.from.Recv()
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return chunk.GetData(), err
	case engine.TimedOut(s.ctx):
		err = fmt.Errorf("nothing came for %s; it was ended", s.p.o.Stall)
		s.p.drop(s.proc, err)
		return nil, err
	case s.ctx.Err() != nil:
		return nil, context.Canceled
	case status.Code(err) == codes.Unavailable:
		err = s.proc.broken()
		s.p.drop(s.proc, err)
		return nil, engine.Transient(err)
	}
	return nil, meaning(err, s.from.Trailer())
}

// Close implements io.Closer: the plugin is told that nobody reads any more.
func (s *stream) Close() error {
	s.cancel(nil)
	return nil
}
