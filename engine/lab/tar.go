package lab

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// tarProgram is tar with -t, -x -O and -c.
func tarProgram(p *proc) int {
	args := p.argv[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") { // the old style: tar tf FILE
		args = append([]string{"-" + args[0]}, args[1:]...)
	}
	t := tarRun{proc: p, dir: p.dir, from: map[string]string{}}
	o, names, err := grammar{
		names: "t x c O f: C: T: z v P h list extract create to-stdout file: directory: files-from: null no-recursion " +
			"ignore-failed-read numeric-owner sort: occurrence exclude: warning: absolute-names gzip force-local",
		operand: t.note,
	}.parse(args)
	if err != nil {
		return p.failf(64, "tar: %v\nTry 'tar --help' or 'tar --usage' for more information.", err)
	}
	t.file = o.last("f") + o.last("file")
	t.dir = t.within(o)
	switch {
	case o.has("c") || o.has("create"):
		return t.create(o, names)
	case o.has("t") || o.has("list"):
		return t.read(names, func(h *tar.Header, _ io.Reader) error {
			_, err := fmt.Fprintln(p.stdout, h.Name)
			return err
		})
	case (o.has("x") || o.has("extract")) && (o.has("O") || o.has("to-stdout")):
		return t.read(names, func(h *tar.Header, r io.Reader) error {
			if h.Typeflag != tar.TypeReg {
				return nil
			}
			_, err := p.copy(p.stdout, r)
			return err
		})
	}
	return p.failf(2, "tar: only -t, -xO and -c are modelled")
}

// A tarRun is one run of tar.
type tarRun struct {
	*proc
	file string            // "" and "-" are the standard streams
	dir  string            // the last -C
	from map[string]string // the -C before each operand, where it is not the last
}

// within returns the directory that all -C so far lead to, one from the other.
func (t tarRun) within(o options) string {
	dir := t.proc.dir
	for _, to := range append(slices.Clone(o["C"]), o["directory"]...) {
		dir = absolute(dir, to)
	}
	return dir
}

func (t tarRun) note(before options, operand string) { t.from[operand] = t.within(before) }

const tarFatal = "tar: Error is not recoverable: exiting now"

// read calls each for all members, or for those named.
func (t tarRun) read(names []string, each func(*tar.Header, io.Reader) error) int {
	f, err := t.use(orStdin([]string{t.file})[0])
	if t.file == "" {
		f, err = t.use("-")
	}
	if err != nil {
		return t.failf(2, "tar: %s: Cannot open: %s\n%s", t.file, strerror(err), tarFatal)
	}
	defer f.Close()
	buffered := bufio.NewReader(f)
	var in io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if in, err = gzip.NewReader(buffered); err != nil {
			return t.failf(2, "tar: This does not look like a tar archive\n%s", tarFatal)
		}
	}
	found := map[string]bool{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t.failf(2, "tar: This does not look like a tar archive\ntar: Exiting with failure status due to previous errors")
		}
		name, ok := wanted(h.Name, names)
		if !ok {
			continue
		}
		found[name] = true
		if err := each(h, r); err != nil {
			if exit, ended := t.ended(err); ended {
				return exit
			}
			return t.failf(2, "tar: %s: Cannot write: %s", h.Name, strerror(err))
		}
	}
	exit := 0
	for _, name := range names {
		if !found[name] {
			exit = t.failf(2, "tar: %s: Not found in archive", name)
		}
	}
	if exit != 0 {
		t.failf(2, "tar: Exiting with failure status due to previous errors")
	}
	return exit
}

// wanted reports whether a member is one of names, or lies below one, and which.
func wanted(member string, names []string) (string, bool) {
	if len(names) == 0 {
		return "", true
	}
	for _, name := range names {
		if member == name || strings.HasPrefix(member, strings.TrimSuffix(name, "/")+"/") {
			return name, true
		}
	}
	return "", false
}

func (t tarRun) create(o options, names []string) int {
	if from := o.last("T") + o.last("files-from"); from != "" {
		more, err := t.filesFrom(from, o.has("null"))
		if err != nil {
			return t.failf(2, "tar: %s: Cannot open: %s\n%s", from, strerror(err), tarFatal)
		}
		names = append(names, more...)
	}
	var out io.WriteCloser = nopWriteCloser{t.stdout}
	if t.file != "" && t.file != "-" {
		f, err := t.proc.create(t.file, os.O_TRUNC)
		if err != nil {
			return t.failf(2, "tar: %s: Cannot open: %s\n%s", t.file, strerror(err), tarFatal)
		}
		out = f
	}
	w := tar.NewWriter(out)
	exit := 0
	for _, name := range names {
		err := t.add(w, name, !o.has("no-recursion"))
		if status, ended := t.ended(err); ended {
			return status
		}
		var pe *fs.PathError
		switch {
		case errors.As(err, &pe) && o.has("ignore-failed-read"):
			t.failf(0, "tar: %s: Warning: Cannot stat: %s", name, strerror(err))
		case errors.As(err, &pe):
			exit = t.failf(2, "tar: %s: Cannot stat: %s", name, strerror(err))
		case err != nil:
			return t.failf(2, "tar: -: Cannot write: %s\n%s", strerror(err), tarFatal)
		}
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		return t.failf(2, "tar: -: Cannot write: %s\n%s", strerror(err), tarFatal)
	}
	if exit != 0 {
		t.failf(exit, "tar: Exiting with failure status due to previous errors")
	}
	return exit
}

func (t tarRun) filesFrom(name string, null bool) ([]string, error) {
	f, err := t.use(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	end := "\n"
	if null {
		end = "\x00"
	}
	var out []string
	for name := range strings.SplitSeq(string(data), end) {
		if name != "" {
			out = append(out, name)
		}
	}
	return out, nil
}

// add writes a file and, if recursive, what is below it.
func (t tarRun) add(w *tar.Writer, name string, recursive bool) error {
	at := absolute(orElse(t.from[name], t.dir), name)
	f, err := t.look(at, false)
	if err != nil {
		return err
	}
	h := &tar.Header{
		Name: strings.TrimPrefix(name, "/"), Mode: int64(f.owner.Mode), Uid: f.owner.UID, Gid: f.owner.GID,
		ModTime: f.info.ModTime(), Typeflag: tar.TypeReg,
	}
	switch {
	case f.info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, strings.TrimSuffix(h.Name, "/")+"/"
	case f.info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(t.node.host(f.at)); err != nil {
			return err
		}
	default:
		return t.addFile(w, h, at, f.info.Size())
	}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("tar header: %w", err)
	}
	if h.Typeflag != tar.TypeDir || !recursive {
		return nil
	}
	list, err := t.node.readDir(f.at)
	if err != nil {
		return err
	}
	for _, e := range list {
		below := path.Join(name, e.Name())
		t.from[below] = t.from[name]
		if err := t.add(w, below, true); err != nil {
			return err
		}
	}
	return nil
}

// small is the size of a file that is read as a whole before it is written.
const small = 1 << 20

func (t tarRun) addFile(w *tar.Writer, h *tar.Header, at string, size int64) error {
	f, err := t.use(at)
	if err != nil {
		return err
	}
	defer f.Close()
	// How much a small one holds is known once it is read: the kernel's say that they are empty.
	var content io.Reader = f
	if size > small {
		h.Size, content = size, io.LimitReader(f, size)
	} else {
		data, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		h.Size, content = int64(len(data)), bytes.NewReader(data)
	}
	if err := w.WriteHeader(h); err != nil {
		return fmt.Errorf("tar header: %w", err)
	}
	_, err = t.copy(w, content)
	return err
}
