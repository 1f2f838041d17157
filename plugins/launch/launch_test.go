package launch_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/plugins/launch"
	"github.com/tengil/tengil/plugins/registrytest"
)

// program returns this program under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, file); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	return file
}

// A diary keeps what plugins print, and tells who waits for a line.
type diary struct {
	mu    sync.Mutex
	lines []launch.Line
	heard chan string
}

func newDiary() *diary { return &diary{heard: make(chan string, 10_000)} }

func (d *diary) log(l launch.Line) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, l)
	select {
	case d.heard <- l.Text:
	default:
	}
}

// await returns when a line has text in it.
func (d *diary) await(t *testing.T, text string) {
	t.Helper()
	for {
		select {
		case line := <-d.heard:
			if strings.Contains(line, text) {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("no line with %q came", text)
		}
	}
}

// until is a deadline that ends when a plugin logs a line, and at no time otherwise.
func (d *diary) until(text string, which time.Duration) engine.Deadline {
	return func(ctx context.Context, after time.Duration, cause error) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		if after == which {
			go func() {
				for {
					select {
					case line := <-d.heard:
						if strings.Contains(line, text) {
							cancel(cause)
							return
						}
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		return ctx, func() { cancel(nil) }
	}
}

func open(t *testing.T, name string, o launch.Options) *launch.Plugin {
	t.Helper()
	p := launch.Program(program(t, name), engine.RegistryInfo{}, nil, o)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestConformanceThroughAProcess(t *testing.T) {
	for _, name := range []string{"good", "twenty-lines"} {
		t.Run(name, func(t *testing.T) {
			report := registrytest.Run(t.Context(), open(t, name, launch.Options{}), registrytest.Options{})
			if err := report.Err(); err != nil {
				t.Error(err)
			}
			if passed, _, _ := report.Count(); passed < 11 {
				t.Errorf("only %d checks passed: %+v", passed, report)
			}
		})
	}
}

func TestWhatAPluginPrintsIsItsLog(t *testing.T) {
	d := newDiary()
	p := open(t, "chatty", launch.Options{Log: d.log})
	if _, err := p.Resolve(t.Context(), "x", "amd64"); err != nil {
		t.Fatal(err)
	}
	d.await(t, "welcome to my plugin")
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if l.Plugin != "chatty" {
			t.Errorf("a line is of plugin %q", l.Plugin)
		}
	}
}

func TestWhatAPluginPrintsLaterIsItsLog(t *testing.T) {
	for _, text := range []string{"printed while it works", "logged while it works"} {
		d := newDiary()
		p := open(t, "chatty", launch.Options{Log: d.log})
		if _, err := p.Resolve(t.Context(), "x", "amd64"); err != nil {
			t.Fatal(err)
		}
		d.await(t, text)
	}
}

// Each of these is one clear error that names the plugin.
func TestBadStarts(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"garbage", `plugin garbage: it printed 65`},
		{"ends", "plugin ends: it ended at its start, exit status 7: no such module: cheese"},
		{"version", "plugin version: it speaks version 2 of the protocol of registries; this tg speaks version 1"},
		{"netrpc", "plugin netrpc: it does not speak gRPC"},
		{"plain", "plugin plain: its handshake has no certificate"},
		{"badcert", "plugin badcert: "},
		{"remote", `plugin remote: it listens at "tcp", "192.0.2.1:1"; wanted a unix socket`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := open(t, tt.name, launch.Options{}).Info(t.Context())
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("wanted %q, got %v", tt.want, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x00\x1b") {
				t.Errorf("control characters are told: %q", err)
			}
		})
	}
}

func TestAPluginThatNeverStarts(t *testing.T) {
	never := func(ctx context.Context, _ time.Duration, cause error) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(cause)
		return ctx, func() {}
	}
	_, err := open(t, "mute", launch.Options{Deadline: never}).Info(t.Context())
	if want := "plugin mute: it has not started in 20s"; err == nil || err.Error() != want {
		t.Errorf("wanted %q, got %v", want, err)
	}
}

func TestAPluginThatNeverAnswersIsEndedAndStartedOnceMore(t *testing.T) {
	d := newDiary()
	p := open(t, "hangs", launch.Options{Log: d.log, Call: time.Hour, Deadline: d.until("hangs", time.Hour)})
	for range 2 {
		_, err := p.Resolve(t.Context(), "x", "amd64")
		if want := `plugin hangs: resolve "x": no answer in 1h0m0s; it was ended`; err == nil || err.Error() != want {
			t.Fatalf("wanted %q, got %v", want, err)
		}
	}
	_, err := p.Resolve(t.Context(), "x", "amd64")
	if want := "it was started 2 times and is not started again: no answer in 1h0m0s"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("wanted %q, got %v", want, err)
	}
}

func TestAPluginThatEndsIsStartedOnceMore(t *testing.T) {
	p := open(t, "dies", launch.Options{})
	if _, err := p.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := p.Resolve(t.Context(), "x", "amd64")
	if want := `plugin dies: resolve "x": it ended, exit status 4: panic: it hurts`; err == nil || err.Error() != want {
		t.Errorf("wanted %q, got %v", want, err)
	}
	if _, err = p.Info(t.Context()); err == nil || !strings.Contains(err.Error(), "it was started 2 times") {
		t.Errorf("wanted that it is not started a third time, got %v", err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	p := open(t, "errors", launch.Options{})
	for ref, kind := range map[string]error{"missing": fs.ErrNotExist, "credentials": engine.ErrUnauthorized, "busy": engine.ErrTransient, "temporary": engine.ErrTransient} {
		_, err := p.Resolve(t.Context(), ref, "amd64")
		if !errors.Is(err, kind) || !strings.HasPrefix(err.Error(), `plugin errors: resolve "`+ref+`": `) {
			t.Errorf("%s: wanted one that is %q and names the plugin, got %v", ref, kind, err)
		}
		var busy *engine.BusyError
		if ref == "busy" && (!errors.As(err, &busy) || busy.After != 90*time.Second) {
			t.Errorf("busy: wanted to be told 90 s, got %#v", busy)
		}
	}
	if _, err := p.Resolve(t.Context(), "other", "amd64"); err == nil || errors.Is(err, engine.ErrTransient) || err.Error() != `plugin errors: resolve "other": it is\x1b broken` {
		t.Errorf("other: got %v", err)
	}
}

func TestLies(t *testing.T) {
	ctx := t.Context()
	if _, err := open(t, "lying", launch.Options{}).Resolve(ctx, "x", "amd64"); !errors.Is(err, engine.ErrWrongContent) || !strings.Contains(err.Error(), "plugin lying: ") {
		t.Errorf("a digest that is wrong: got %v", err)
	}
	if _, err := open(t, "huge", launch.Options{}).Resolve(ctx, "x", "amd64"); err == nil || errors.Is(err, engine.ErrTransient) || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("a manifest of 10 MB: got %v", err)
	}
}

func TestStreamsThatAreWrong(t *testing.T) {
	d := engine.Descriptor{Digest: "sha256:" + strings.Repeat("0", 64), Size: 3 << 20}
	for _, tt := range []struct{ name, want string }{
		{"endless", "has more than its 3145728 bytes"},
		{"crashes", "it ended, exit status 3: panic: out of cheese"},
		{"silent", "nothing came for 2h0m0s; it was ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			heard := newDiary()
			p := open(t, tt.name, launch.Options{Log: heard.log, Stall: 2 * time.Hour, Deadline: heard.until("says nothing more", 2*time.Hour)})
			r, err := p.Blob(t.Context(), "x", d)
			n := int64(0)
			if err == nil {
				n, err = io.Copy(io.Discard, r)
				_ = r.Close()
			}
			if err == nil || !strings.HasPrefix(err.Error(), "plugin "+tt.name+": blob sha256:000") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("wanted %q, got %v", tt.want, err)
			}
			if n > d.Size {
				t.Errorf("%d bytes were handed on of a blob of %d", n, d.Size)
			}
		})
	}
}

func TestCancelReachesThePlugin(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(io.Closer, context.CancelFunc)
	}{
		{"the call is cancelled", func(_ io.Closer, cancel context.CancelFunc) { cancel() }},
		{"the stream is closed", func(r io.Closer, _ context.CancelFunc) { _ = r.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDiary()
			p := open(t, "endless", launch.Options{Log: d.log})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := p.Blob(ctx, "x", engine.Descriptor{Digest: "sha256:" + strings.Repeat("0", 64), Size: 1 << 50})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10<<20)); err != nil {
				t.Fatal(err)
			}
			tt.end(r, cancel)
			d.await(t, "nobody reads any more")
		})
	}
}

// store returns a store with a plugin installed.
func store(t *testing.T, name string, o launch.Options) launch.Store {
	t.Helper()
	s := launch.Store{Dir: t.TempDir()}
	c, err := s.Candidate(t.Context(), program(t, name), o)
	if err != nil {
		t.Fatal(err)
	}
	if name == "environ" {
		if err := c.Set("KEPT", "kept value"); err != nil {
			t.Fatal(err)
		}
		if err := c.Set("PATH", "x"); err == nil || !strings.Contains(err.Error(), "it asks for WANTED, KEPT, OTHER") {
			t.Errorf("a variable that it does not ask for was set: %v", err)
		}
	}
	if err := c.Install(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAPluginSeesWhatItAsksForAlone(t *testing.T) {
	s := store(t, "environ", launch.Options{})
	t.Setenv("LEAKED", "leaked value")
	env := map[string]string{"WANTED": "wanted value", "LEAKED": "leaked value"}
	set, err := launch.Open(s, launch.Options{Getenv: func(k string) string { return env[k] }})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	reg, err := set.Registry("sample")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.Resolve(t.Context(), "x", "amd64")
	if err == nil || !strings.Contains(err.Error(), "WANTED=wanted value") || !strings.Contains(err.Error(), "KEPT=kept value") {
		t.Fatalf("it lacks what it asks for: %v", err)
	}
	for _, not := range []string{"leaked", "HOME=", "PATH=", "SSH_AUTH_SOCK", "OTHER="} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("it sees %s: %v", not, err)
		}
	}

	without, err := launch.Open(s, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	reg, err = without.Registry("sample")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.Resolve(t.Context(), "x", "amd64")
	if want := "plugin environ: resolve \"x\": it wants WANTED (what it wants), which is not set"; err == nil || err.Error() != want || !strings.Contains(engine.HintOf(err), "--set WANTED=") {
		t.Errorf("wanted %q, got %v", want, err)
	}
}

func TestAChangedPluginIsNotStarted(t *testing.T) {
	s := store(t, "good", launch.Options{})
	in, err := s.Get("sample")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Verify(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(in.File(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	set, err := launch.Open(s, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	reg, err := set.Registry("sample")
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.Resolve(t.Context(), registrytest.SampleRef, "amd64")
	if err == nil || !strings.Contains(err.Error(), "plugin sample is not what was installed: its sha256 is ") || !strings.Contains(engine.HintOf(err), "tg plugins install") {
		t.Errorf("got %v", err)
	}
	if err := in.Verify(); err == nil {
		t.Error("verify finds nothing")
	}
}

func TestInstalledAndRemoved(t *testing.T) {
	s := store(t, "good", launch.Options{})
	for _, name := range []string{"plugins.json", "plugins/sample"} {
		if st, err := os.Stat(filepath.Join(s.Dir, name)); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v; wanted it for its owner only", name, st.Mode(), err)
		}
	}
	set, err := launch.Open(s, launch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	reg, err := set.Registry("sample")
	if err != nil {
		t.Fatal(err)
	}
	if err := registrytest.Run(t.Context(), reg, registrytest.Options{}).Err(); err != nil {
		t.Error(err)
	}
	if _, err := set.Registry("other"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a scheme that no plugin has: %v", err)
	}
	if err := s.Remove("sample"); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir, "plugins", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	if err := s.Remove("sample"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestARefusedCandidateLeavesNothing(t *testing.T) {
	s := launch.Store{Dir: t.TempDir()}
	if _, err := s.Candidate(t.Context(), program(t, "ends"), launch.Options{}); err == nil {
		t.Error("a program that is no plugin may be installed")
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir, "plugins")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
