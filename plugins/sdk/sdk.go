// Package sdk is what the author of a registry plugin imports: implement Registry,
// and what else the registry can do of Tagger, Searcher, Sourcer and Blobber, and
// hand it to Serve. Nothing else of tengil is needed.
package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/tengil/tengil/engine"
)

// What a plugin and tengil tell each other; see package engine.
type (
	Info       = engine.RegistryInfo // Can is filled in by Serve
	Env        = engine.RegistryEnv
	Manifest   = engine.Manifest
	Descriptor = engine.Descriptor
	Found      = engine.FoundImage
	Source     = engine.ImageSource
	Secret     = engine.Secret
)

// A Registry is what every plugin implements, together with Sourcer or Blobber. It
// must be safe for parallel use.
type Registry interface {
	// Info says what it is. It connects to nothing.
	Info() Info
	// Resolve returns the manifest of the image ref for a processor ("amd64"). ref is
	// what follows scheme:// in a recipe.
	Resolve(ctx context.Context, ref, arch string) (Manifest, error)
}

// A Blobber streams images itself.
type Blobber interface {
	// Blob opens a layer or the config of the image. The error wraps fs.ErrNotExist if
	// there is no such blob.
	Blob(ctx context.Context, ref string, d Descriptor) (io.ReadCloser, error)
}

// A Sourcer knows where skopeo can pull its images.
type Sourcer interface {
	Source(ctx context.Context, ref string, m Manifest) (Source, error)
}

// A Tagger lists tags.
type Tagger interface {
	Tags(ctx context.Context, repository string) ([]string, error)
}

// A Searcher finds images.
type Searcher interface {
	Search(ctx context.Context, words string, limit int) ([]Found, error)
}

// NotFound returns the error for what is not there. An error that wraps
// fs.ErrNotExist, as those of package os do, says the same.
func NotFound(format string, a ...any) error { return because(fs.ErrNotExist, format, a) }

// Unauthorized returns the error for credentials that are missing or wrong.
func Unauthorized(format string, a ...any) error { return because(engine.ErrUnauthorized, format, a) }

// Temporary returns the error for what may succeed when tried again.
func Temporary(format string, a ...any) error { return engine.Transient(fmt.Errorf(format, a...)) }

// Busy returns the error for having been asked too often. after is how long to wait,
// 0 if the other side did not say.
func Busy(after time.Duration, format string, a ...any) error {
	return &engine.BusyError{Err: fmt.Errorf(format, a...), After: after}
}

// because returns an error of that text which also matches kind.
func because(kind error, format string, a []any) error {
	return &classed{fmt.Errorf(format, a...), kind}
}

type classed struct{ err, kind error }

func (c *classed) Error() string   { return c.err.Error() }
func (c *classed) Unwrap() []error { return []error{c.err, c.kind} }

// Adapt returns r as an engine.Registry: what r does not implement is
// errors.ErrUnsupported, and what it returns after the context has ended is dropped.
func Adapt(r Registry) engine.Registry { return adapted{r} }

type adapted struct{ r Registry }

func (a adapted) Info(ctx context.Context) (Info, error) {
	i := a.r.Info()
	i.Can = nil
	if _, ok := a.r.(Tagger); ok {
		i.Can = append(i.Can, engine.CanTags)
	}
	if _, ok := a.r.(Searcher); ok {
		i.Can = append(i.Can, engine.CanSearch)
	}
	if _, ok := a.r.(Sourcer); ok {
		i.Can = append(i.Can, engine.CanSource)
	}
	if _, ok := a.r.(Blobber); ok {
		i.Can = append(i.Can, engine.CanBlobs)
	}
	return i, ctx.Err()
}

func (a adapted) Resolve(ctx context.Context, ref, arch string) (Manifest, error) {
	return timely(ctx, func() (Manifest, error) { return a.r.Resolve(ctx, ref, arch) })
}

func (a adapted) Tags(ctx context.Context, repository string) ([]string, error) {
	return timely(ctx, func() ([]string, error) {
		if t, ok := a.r.(Tagger); ok {
			return t.Tags(ctx, repository)
		}
		return nil, unsupported("list tags")
	})
}

func (a adapted) Search(ctx context.Context, words string, limit int) ([]Found, error) {
	return timely(ctx, func() ([]Found, error) {
		if s, ok := a.r.(Searcher); ok {
			found, err := s.Search(ctx, words, limit)
			return found[:min(len(found), max(limit, 0))], err
		}
		return nil, unsupported("search")
	})
}

func (a adapted) Source(ctx context.Context, ref string, m Manifest) (Source, error) {
	return timely(ctx, func() (Source, error) {
		if s, ok := a.r.(Sourcer); ok {
			return s.Source(ctx, ref, m)
		}
		return Source{}, unsupported("say where skopeo can pull")
	})
}

func (a adapted) Blob(ctx context.Context, ref string, d Descriptor) (io.ReadCloser, error) {
	return timely(ctx, func() (io.ReadCloser, error) {
		if b, ok := a.r.(Blobber); ok {
			return b.Blob(ctx, ref, d)
		}
		return nil, unsupported("stream blobs")
	})
}

func unsupported(what string) error {
	return because(errors.ErrUnsupported, "it cannot %s", []any{what})
}

// timely drops what comes when nobody waits for it any more.
func timely[T any](ctx context.Context, do func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	v, err := do()
	if late := ctx.Err(); late != nil {
		if c, ok := any(v).(io.Closer); ok && c != nil {
			_ = c.Close()
		}
		return none, late
	}
	return v, err
}
