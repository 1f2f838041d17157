package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tengil/tengil/builtins/pct"
	"github.com/tengil/tengil/builtins/probe"
	"github.com/tengil/tengil/cmd/tg/archive"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

func (s *session) cpCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "cp SRC APP/CONTAINER:PATH | cp APP/CONTAINER:PATH DST",
		Short: "Copy files into or out of a container",
		Long: `Copy a file or a directory into a container of an application, or out of it. If the
target is a directory that exists, the copy goes into it. PATH is absolute; - is
standard input or output, for a single file.

What is copied in belongs to the container's root and replaces files that are
there. What is copied out never replaces a file unless --force says so, and
nothing in a container can make it write outside of the target.

The image needs tar; without it, single files are copied all the same.`,
		Example: `  tg cp ./site immich/web:/srv
  tg cp immich/server:/usr/src/app/package.json -
  pg_dump notes | tg cp - immich/db:/tmp/notes.sql`,
		Args:              exactly("SRC", "DST"),
		ValidArgsFunction: s.completePlace,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.cp(cmd.Context(), args[0], args[1], force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "replace files of this machine")
	return cmd
}

// A place is one side of a copy.
type place struct {
	app, container string // "" for this machine
	path           string // "-" for a standard stream
}

var inContainer = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*)/([a-z0-9][a-z0-9-]*):(.*)$`)

func parsePlace(text string) (place, error) {
	m := inContainer.FindStringSubmatch(text)
	if m == nil {
		return place{path: text}, nil
	}
	p := place{m[1], m[2], m[3]}
	if !path.IsAbs(p.path) || strings.ContainsRune(p.path, 0) {
		return p, usagef("%q: wanted an absolute path after the colon", text)
	}
	if path.Clean(p.path) == "/" && !strings.HasSuffix(p.path, "/") {
		return p, usagef("%q: wanted a file or a directory", text)
	}
	return p, nil
}

// cp copies between this machine and a container.
func (s *session) cp(ctx context.Context, from, to string, force bool) error {
	src, err := parsePlace(from)
	if err != nil {
		return err
	}
	dst, err := parsePlace(to)
	switch {
	case err != nil:
		return err
	case src.app == "" && dst.app == "":
		return usagef("neither %q nor %q is in a container; wanted one as APP/CONTAINER:PATH", from, to)
	case src.app != "" && dst.app != "":
		here := "./" + path.Base(src.path)
		return usagef("both are in containers; copy to this machine first:\n  hint: %s && %s", s.line("cp", from, here), s.line("cp", here, to))
	}
	there := dst
	if there.app == "" {
		there = src
	}
	host, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer host.Close()
	c, err := s.pickGuest(ctx, host, there.app, there.container)
	if err != nil {
		return err
	}
	t := transfer{session: s, host: host, guest: c}
	if err := t.look(ctx, there.path); err != nil {
		return err
	}
	var sum archive.Summary
	if dst.app != "" {
		sum, err = t.in(ctx, src.path, dst.path)
	} else {
		sum, err = t.out(ctx, src.path, dst.path, force)
	}
	if err != nil {
		return err
	}
	return s.copied(sum, dst.path == "-")
}

// copied tells what was copied.
func (s *session) copied(sum archive.Summary, toStdout bool) error {
	for _, what := range sum.LeftOut {
		s.notef("left out: %s\n", what)
	}
	switch {
	case toStdout:
		return nil
	case s.json():
		return s.term.JSON(sum)
	}
	files := "files"
	if sum.Files == 1 {
		files = "file"
	}
	s.notef("copied %s in %d %s\n", ui.Bytes(sum.Bytes), sum.Files, files)
	return nil
}

// A transfer is a copy to or from one container.
type transfer struct {
	*session
	host  engine.Host
	guest *pct.Guest
	tar   bool // the image has it
	isDir bool // the path in the container is a directory
	none  bool // nothing is at the path in the container
}

// look finds out what the container has.
func (t *transfer) look(ctx context.Context, name string) error {
	hasTar := engine.AskRun(t.exec("tar", "--help")...)
	isDir := engine.AskRun(t.exec("test", "-d", name)...)
	exists := engine.AskRun(t.exec("test", "-e", name)...)
	isLink := engine.AskRun(t.exec("test", "-L", name)...) // maybe to nothing
	stale := staleAsk()
	answers, err := t.host.Batch(ctx, []engine.Ask{hasTar, isDir, exists, isLink, stale})
	if err != nil {
		return err
	}
	if err := t.sweep(ctx, answers.Get(stale)); err != nil {
		return err
	}
	err = answers.Get(hasTar).Err
	if err != nil {
		if gone := t.notThere(t.guest, err); gone != nil {
			return gone
		}
	}
	t.tar = !pve.NotInContainer(err)
	t.isDir = answers.Get(isDir).Err == nil
	t.none = saysNo(answers.Get(exists).Err) && saysNo(answers.Get(isLink).Err)
	return nil
}

// saysNo reports whether test(1) ran and found it otherwise.
func saysNo(err error) bool {
	var exit *engine.ExitError
	return errors.As(err, &exit) && exit.Exit == 1 && !pve.NotInContainer(err)
}

func (t *transfer) exec(argv ...string) []string { return probe.ExecArgv(t.guest.VMID, argv...) }

// in copies into the container.
func (t *transfer) in(ctx context.Context, src, dst string) (archive.Summary, error) {
	base := filepath.Base(src)
	if src == "-" {
		spooled, remove, err := spool(t.term.In)
		if err != nil {
			return archive.Summary{}, err
		}
		defer remove()
		src, base = spooled, ""
	}
	fi, err := os.Stat(src)
	if err != nil {
		return archive.Summary{}, err
	}
	perm := fi.Mode().Perm()
	if base == "" {
		perm = 0o644 // of a stream; the file that keeps it is for nobody else
	}
	if abs, err := filepath.Abs(src); err == nil && base != "" {
		base = filepath.Base(abs) // of "." and ".."
	}
	switch {
	case t.isDir && base == "":
		return archive.Summary{}, usagef("%q is a directory; standard input becomes a file", dst)
	case t.isDir:
		dst = path.Join(dst, base)
	case strings.HasSuffix(dst, "/"):
		return archive.Summary{}, fmt.Errorf("there is no directory %q in %s", dst, t.name())
	}
	size, err := archive.Size(src)
	if err != nil {
		return archive.Summary{}, err
	}
	meter := t.term.Meter(path.Base(dst), size)
	defer meter.End()
	if !t.tar {
		if fi.IsDir() {
			return archive.Summary{}, t.noTar()
		}
		return t.push(ctx, src, dst, perm, meter)
	}
	r, w := io.Pipe()
	packed := make(chan archive.Summary, 1)
	go func() {
		sum, err := archive.Pack(w, src, path.Base(dst), perm)
		_ = w.CloseWithError(err) // of a pipe: nil
		packed <- sum
	}()
	_, err = t.host.Run(ctx, engine.Cmd{
		Argv: t.exec("tar", "-xf", "-", "-C", path.Dir(dst)), Stdin: meter.Reader(r),
		Audit: inside(t.guest, "tar", "-xf", "-", "-C", path.Dir(dst)),
	})
	_ = r.CloseWithError(io.ErrClosedPipe) // ends Pack where tar ended first
	return <-packed, t.explain(err)
}

// out copies out of the container.
func (t *transfer) out(ctx context.Context, src, dst string, force bool) (archive.Summary, error) {
	if t.none {
		return archive.Summary{}, fmt.Errorf("there is no %q in %s", src, t.name())
	}
	src = path.Clean(src)
	if t.isDir && (dst == "-" || !t.tar) {
		if dst == "-" {
			return archive.Summary{}, usagef("%q is a directory; only a file goes to standard output", src)
		}
		return archive.Summary{}, t.noTar()
	}
	target := archive.Target{Name: dst, Force: force}
	if fi, err := os.Stat(dst); err == nil && fi.IsDir() {
		target.Name = filepath.Join(dst, path.Base(src))
	} else if dst != "-" && os.IsPathSeparator(dst[len(dst)-1]) {
		return archive.Summary{}, fmt.Errorf("there is no directory %q here", dst)
	}
	meter := t.term.Meter(path.Base(src), 0)
	defer meter.End()
	unpack := func(r io.Reader) (archive.Summary, error) { return archive.Unpack(r, path.Base(src), target) }
	if dst == "-" {
		unpack = func(r io.Reader) (archive.Summary, error) { return archive.Content(r, t.term.RawOut()) }
	}
	if !t.tar {
		return t.pull(ctx, src, meter, unpack)
	}
	return t.receive(ctx, t.exec("tar", "-cf", "-", "-C", path.Dir(src), "./"+path.Base(src)), meter, unpack)
}

// receive gives what a command prints to unpack. Unpack's own error says more than
// the command's, which then ended since nobody listened.
func (t *transfer) receive(ctx context.Context, argv []string, meter *ui.Meter, unpack func(io.Reader) (archive.Summary, error)) (archive.Summary, error) {
	r, w := io.Pipe()
	type result struct {
		sum archive.Summary
		err error
	}
	unpacked := make(chan result, 1)
	go func() {
		sum, err := unpack(meter.Reader(r))
		_ = r.CloseWithError(errors.Join(errStopped, err)) // of a pipe: nil
		unpacked <- result{sum, err}
	}()
	_, err := t.host.Run(ctx, engine.Cmd{Argv: argv, Stdout: w, ReadOnly: true})
	_ = w.CloseWithError(err)
	got := <-unpacked
	var exit *engine.ExitError
	switch {
	case errors.As(err, &exit):
		return got.sum, t.explain(err)
	case got.err != nil:
		return got.sum, got.err
	case errors.Is(err, errStopped):
		err = nil
	}
	return got.sum, err
}

// errStopped ends a command whose output nobody reads any more.
var errStopped = errors.New("nothing more is read")

func (t *transfer) name() string { return t.guest.ID.App + "/" + t.guest.ID.Name }

func (t *transfer) noTar() error {
	return engine.WithHint(fmt.Errorf("the image of %s has no tar, which a directory needs", t.name()), "copy its files one by one")
}

// explain says what tar said first: what comes after only says that it gave up.
func (t *transfer) explain(err error) error {
	var exit *engine.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n"); said != "" {
		return fmt.Errorf("in %s: %s", t.name(), said)
	}
	return pve.Explain(err)
}

// spool keeps standard input in a file that only its owner may read: an archive
// tells first how long a file is.
func spool(r io.Reader) (name string, remove func(), err error) {
	f, err := os.CreateTemp("", "tg-cp-*")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.Remove(f.Name()) } // nothing is lost with it
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}
