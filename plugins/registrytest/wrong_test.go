package registrytest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/registrytest"
)

// A wrong registry is the sample with one fault.
type wrong struct {
	*registrytest.Sample
	info    func(engine.RegistryInfo) engine.RegistryInfo
	resolve func(ctx context.Context, ref, arch string) (engine.Manifest, error)
	tags    func(tags []string, err error) ([]string, error)
	search  func(found []engine.FoundImage) []engine.FoundImage
	source  func(engine.ImageSource) engine.ImageSource
	blob    func(ctx context.Context, d engine.Descriptor) (io.ReadCloser, error)

	hangs string        // the call that never returns
	waits chan struct{} // is told when it does not
}

func (w wrong) hang(call string) {
	if w.hangs == call {
		w.waits <- struct{}{}
		select {}
	}
}

func (w wrong) Info(ctx context.Context) (engine.RegistryInfo, error) {
	i, err := w.Sample.Info(ctx)
	if w.info != nil {
		i = w.info(i)
	}
	return i, err
}

func (w wrong) Resolve(ctx context.Context, ref, arch string) (engine.Manifest, error) {
	w.hang("resolve")
	if w.resolve != nil {
		return w.resolve(ctx, ref, arch)
	}
	return w.Sample.Resolve(ctx, ref, arch)
}

func (w wrong) Tags(ctx context.Context, repository string) ([]string, error) {
	tags, err := w.Sample.Tags(ctx, repository)
	if w.tags != nil {
		return w.tags(tags, err)
	}
	return tags, err
}

func (w wrong) Search(ctx context.Context, words string, limit int) ([]engine.FoundImage, error) {
	found, err := w.Sample.Search(ctx, words, limit)
	if w.search != nil {
		found = w.search(found)
	}
	return found, err
}

func (w wrong) Source(ctx context.Context, ref string, m engine.Manifest) (engine.ImageSource, error) {
	at, err := w.Sample.Source(ctx, ref, m)
	if w.source != nil {
		at = w.source(at)
	}
	return at, err
}

func (w wrong) Blob(ctx context.Context, ref string, d engine.Descriptor) (io.ReadCloser, error) {
	w.hang("blob")
	if w.blob != nil {
		return w.blob(ctx, d)
	}
	return w.Sample.Blob(ctx, ref, d)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
func (endless) Close() error               { return nil }

// impatient gives a check no time at all once it waits: that it is over is told by
// the check itself having begun to wait, not by a clock.
func impatient(waits chan struct{}) engine.Deadline {
	return func(ctx context.Context, _ time.Duration, cause error) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		go func() {
			select {
			case <-waits:
				if ctx.Err() != nil { // it was for the check after this one
					waits <- struct{}{}
				}
				cancel(cause)
			case <-ctx.Done():
			}
		}()
		return ctx, func() { cancel(nil) }
	}
}

func TestTheSampleIsRight(t *testing.T) {
	report := registrytest.Run(t.Context(), registrytest.NewSample("amd64", nil), registrytest.Options{})
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if passed, _, skipped := report.Count(); passed != 14 || skipped != 0 {
		t.Errorf("%d checks passed, %d were skipped; wanted all 14 and none", passed, skipped)
	}
}

func TestWrongRegistriesAreCaught(t *testing.T) {
	right := registrytest.NewSample("amd64", nil)
	always := func(m engine.Manifest) func(context.Context, string, string) (engine.Manifest, error) {
		return func(ctx context.Context, ref, arch string) (engine.Manifest, error) {
			if _, err := right.Resolve(ctx, ref, arch); err != nil {
				return engine.Manifest{}, err
			}
			return m, nil
		}
	}
	other := registrytest.NewSample("arm64", nil)
	lying := maps.Clone(right.Blobs)
	lying[right.Layers[1].Digest] = bytes.Clone(lying[right.Layers[1].Digest])
	lying[right.Layers[1].Digest][1000] ^= 1
	for _, tt := range []struct {
		name string
		reg  wrong
		want string // of what is told
	}{
		{"a manifest of another digest", wrong{resolve: always(engine.Manifest{Digest: right.Config.Digest, Data: right.Manifest.Data})},
			"resolves a reference to a manifest with the right digest: wrong content"},
		{"a digest that is none", wrong{resolve: always(engine.Manifest{Digest: "sha256:12", Data: right.Manifest.Data})}, `manifest has the digest "sha256:12"`},
		{"no manifest though it streams", wrong{resolve: always(engine.Manifest{Digest: right.Manifest.Digest})}, "is empty"},
		{"another architecture", wrong{Sample: other}, `image is for "arm64"; wanted "amd64"`},
		{"a blob of another content", wrong{Sample: &registrytest.Sample{Manifest: right.Manifest, Blobs: lying}}, "streams blobs that are what the manifest says: wrong content: wanted " + right.Layers[1].Digest},
		{"a blob that is too short", wrong{blob: func(ctx context.Context, d engine.Descriptor) (io.ReadCloser, error) {
			r, err := right.Blob(ctx, "", d)
			if err != nil {
				return nil, err
			}
			return io.NopCloser(io.LimitReader(r, d.Size-1)), nil
		}}, "ended after"},
		{"a stream without an end", wrong{blob: func(ctx context.Context, d engine.Descriptor) (io.ReadCloser, error) {
			if _, err := right.Blob(ctx, "", d); err != nil {
				return nil, err
			}
			return endless{}, nil
		}}, "has more than its"},
		{"answers after it was cancelled", wrong{resolve: func(ctx context.Context, ref, arch string) (engine.Manifest, error) {
			return right.Resolve(context.WithoutCancel(ctx), ref, arch)
		}}, "though the call was cancelled before"},
		{"never answers", wrong{hangs: "resolve"},
			"resolves a reference to a manifest with the right digest: no end after"},
		{"a stream that stops", wrong{hangs: "blob"},
			"streams blobs that are what the manifest says: no end after"},
		{"not found as some error", wrong{resolve: func(ctx context.Context, ref, arch string) (engine.Manifest, error) {
			m, err := right.Resolve(ctx, ref, arch)
			if err != nil && ctx.Err() == nil {
				err = errors.New("404")
			}
			return m, err
		}}, "wanted an error that says not found, got: 404"},
		{"anything resolves", wrong{resolve: func(ctx context.Context, _, _ string) (engine.Manifest, error) { return right.Manifest, ctx.Err() }},
			"there is an answer; wanted an error that says not found"},
		{"a blob that is not there as some error", wrong{blob: func(ctx context.Context, d engine.Descriptor) (io.ReadCloser, error) {
			r, err := right.Blob(ctx, "", d)
			if err != nil {
				return nil, errors.New("404")
			}
			return r, nil
		}}, "says not found of a blob that is not there"},
		{"a bad name", wrong{info: func(i engine.RegistryInfo) engine.RegistryInfo { i.Name = "a b"; return i }}, `name is "a b"`},
		{"a scheme that is taken", wrong{info: func(i engine.RegistryInfo) engine.RegistryInfo { i.Scheme = "docker"; return i }}, `scheme "docker" is taken`},
		{"a variable that loads code", wrong{info: func(i engine.RegistryInfo) engine.RegistryInfo {
			i.Env = []engine.RegistryEnv{{Name: "LD_PRELOAD"}}
			return i
		}}, `"LD_PRELOAD"`},
		{"does what it does not claim", wrong{info: func(i engine.RegistryInfo) engine.RegistryInfo { i.Can = i.Can[2:]; return i }}, "wanted an error that says unsupported"},
		{"a tag twice", wrong{tags: func(tags []string, err error) ([]string, error) { return append(tags, tags...), err }}, `tag "1.0" comes twice`},
		{"a tag that is none", wrong{tags: func(tags []string, err error) ([]string, error) { return append(tags, "-x"), err }}, `"-x" is no tag`},
		{"a tag is missing", wrong{tags: func([]string, error) ([]string, error) { return []string{"2"}, nil }}, `"1.0" is none of the 1 tags`},
		{"tags of what is not there", wrong{tags: func([]string, error) ([]string, error) { return []string{"1.0"}, nil }}, "lists tags: tags of"},
		{"more hits than wanted", wrong{search: func(f []engine.FoundImage) []engine.FoundImage { return append(f, f...) }}, "with a limit of 1"},
		{"hits for everything", wrong{search: func([]engine.FoundImage) []engine.FoundImage { return []engine.FoundImage{{Ref: "a"}} }}, "wanted none"},
		{"a source with a tag", wrong{source: func(at engine.ImageSource) engine.ImageSource { at.Reference += ":1"; return at }}, "without scheme, tag and digest"},
		{"a source that has expired", wrong{source: func(at engine.ImageSource) engine.ImageSource { at.Expires = time.Unix(1, 0); return at }}, "expired at 1970"},
		{"a source whose user ends the line", wrong{source: func(at engine.ImageSource) engine.ImageSource { at.Username = "a\nb"; return at }}, "source has a colon"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.reg.Sample == nil {
				tt.reg.Sample = right
			}
			tt.reg.waits = make(chan struct{}, 100)
			err := registrytest.Run(t.Context(), tt.reg, registrytest.Options{Deadline: impatient(tt.reg.waits)}).Err()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("wanted a failure with %q, got %v", tt.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "sample-secret") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}
