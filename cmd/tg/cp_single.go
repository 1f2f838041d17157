package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/cmd/tg/archive"
	"github.com/tengil/tengil/cmd/tg/ui"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
)

// An image without tar gets and gives single files by pct push and pct pull, which
// go through a file of the node: in a directory that only root may enter, on its
// disk and not in memory. Whoever made it removes it, and keeps it locked until then;
// the lock ends with the session, so that what a killed tg left is known by it.

// staging is how these directories are called; XXXXXXXXXX is mktemp's.
const staging = "/var/tmp/tengil-cp."

// withStaging calls do with the name of a file in a directory of the node.
func (t *transfer) withStaging(ctx context.Context, do func(file string) error) (err error) {
	argv := []string{"mktemp", "-d", staging + "XXXXXXXXXX"}
	made, err := t.host.Run(ctx, engine.Cmd{Argv: argv, Audit: t.audit(argv...)})
	if err != nil {
		return pve.Explain(err)
	}
	dir := strings.TrimSpace(string(made.Stdout))
	if !strings.HasPrefix(dir, staging) {
		return fmt.Errorf("mktemp on %s printed %q; wanted a directory in /var/tmp", t.host.Name(), dir)
	}
	defer func() {
		argv := []string{"rm", "-rf", "--", dir}
		_, gone := t.host.Run(context.WithoutCancel(ctx), engine.Cmd{Argv: argv, Audit: t.audit(argv...)})
		err = errors.Join(err, gone)
	}()
	lock, err := t.host.Hold(ctx, engine.Lock{Path: stagingLock(dir), Holder: t.who() + ", tg cp", Since: time.Now().UTC()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	return do(path.Join(dir, "file"))
}

func stagingLock(dir string) string { return path.Join(dir, "lock") }

// staleAsk asks for the directories that may have been left: root's own, as anybody
// may make something of that name, and older than ten minutes, as a new one is
// not locked yet.
func staleAsk() engine.Ask {
	return engine.AskRun("find", path.Dir(staging), "-maxdepth", "1", "-name", path.Base(staging)+"??????????", "-type", "d", "-user", "root", "-mmin", "+10")
}

// sweep removes of those what nobody holds. That it cannot is no reason not to copy.
func (t *transfer) sweep(ctx context.Context, found engine.Answer) error {
	for dir := range strings.Lines(string(found.Result.Stdout)) {
		dir = strings.TrimSuffix(dir, "\n")
		argv := []string{"flock", "-n", stagingLock(dir), "rm", "-rf", "--", dir}
		_, err := t.host.Run(ctx, engine.Cmd{Argv: argv, Audit: t.audit(argv...)})
		var exit *engine.ExitError
		if err != nil && !errors.As(err, &exit) {
			return err
		}
	}
	return nil
}

func (t *transfer) audit(argv ...string) *engine.Audit {
	a := inside(t.guest)
	a.Argv = argv
	return a
}

// push copies a file into a container without tar.
func (t *transfer) push(ctx context.Context, src, dst string, perm fs.FileMode, meter *ui.Meter) (archive.Summary, error) {
	f, err := os.Open(src)
	if err != nil {
		return archive.Summary{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return archive.Summary{}, err
	}
	err = t.withStaging(ctx, func(staged string) error {
		_, err := t.host.Run(ctx, engine.Cmd{
			Argv: []string{"dd", "of=" + staged, "bs=1M", "status=none"}, Stdin: meter.Reader(f), Audit: t.audit("dd", "of="+staged),
		})
		if err != nil {
			return err
		}
		argv := []string{"pct", "push", strconv.Itoa(t.guest.VMID), staged, dst, "--perms", fmt.Sprintf("%04o", perm), "--user", "0", "--group", "0"}
		_, err = t.host.Run(ctx, engine.Cmd{Argv: argv, Audit: t.audit(argv...)})
		return pve.Explain(err)
	})
	return archive.Summary{Files: 1, Bytes: fi.Size()}, err
}

// pull copies a file out of a container without tar.
func (t *transfer) pull(ctx context.Context, src string, meter *ui.Meter, unpack func(io.Reader) (archive.Summary, error)) (sum archive.Summary, err error) {
	err = t.withStaging(ctx, func(staged string) error {
		argv := []string{"pct", "pull", strconv.Itoa(t.guest.VMID), src, staged}
		if _, err := t.host.Run(ctx, engine.Cmd{Argv: argv, Audit: t.audit(argv...)}); err != nil {
			return pve.Explain(err)
		}
		stat, err := t.host.Run(ctx, engine.Cmd{Argv: []string{"stat", "-c", "%s", staged}, ReadOnly: true})
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(stat.Stdout)), 10, 64)
		if err != nil {
			return fmt.Errorf("size of %s: %w", staged, err)
		}
		sum, err = t.receive(ctx, []string{"cat", staged}, meter, func(r io.Reader) (archive.Summary, error) {
			return unpack(asArchive(r, path.Base(src), size))
		})
		return err
	})
	return sum, err
}

// asArchive returns the archive of one file.
func asArchive(content io.Reader, name string, size int64) io.Reader {
	r, w := io.Pipe()
	go func() {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Now()})
		if err == nil {
			_, err = io.Copy(t, content)
		}
		_ = w.CloseWithError(errors.Join(err, t.Close())) // of a pipe: nil
	}()
	return r
}
