package lab

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode"
)

// strerror words an error as the C library does, without the operation and the
// path: "No such file or directory".
func strerror(err error) string {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errno = syscall.ENOENT
		case errors.Is(err, fs.ErrExist):
			errno = syscall.EEXIST
		case errors.Is(err, fs.ErrPermission):
			errno = syscall.EACCES
		default:
			return err.Error()
		}
	}
	s := []rune(errno.Error())
	s[0] = unicode.ToUpper(s[0])
	return string(s)
}

// use opens a file to read; "-" is standard input. The caller must close it.
func (p *proc) use(name string) (io.ReadCloser, error) {
	if name == "-" || name == "/dev/stdin" {
		return io.NopCloser(p.stdin), nil
	}
	fault, err := p.node.opens(p.ctx, Reads, p.abs(name))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	f, err := p.node.open(p.abs(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		return nil, errors.Join(&fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}, f.Close())
	}
	return fault.spoil(f), nil
}

// create opens a file to write it anew. The caller must close it.
func (p *proc) create(name string, flag int) (*written, error) {
	if _, err := p.node.opens(p.ctx, Writes, p.abs(name)); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if err := p.node.mayWrite(p.abs(name)); err != nil {
		return nil, err
	}
	return p.node.create(p.abs(name), flag, 0o666&^maskOf(p.ctx).get())
}

// buffers are used for copying, as programs are many and short.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// pour copies until src ends.
func pour(dst io.Writer, src io.Reader) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, *buf)
}

// copy copies until src ends. The checkpoint comes when half of what was read
// first is written.
func (p *proc) copy(dst io.Writer, src io.Reader) (int64, error) {
	var total int64
	held := buffers.Get().(*[]byte)
	defer buffers.Put(held)
	buf := *held
	for first := true; ; first = false {
		n, err := src.Read(buf)
		if p.ctx.Err() != nil {
			return total, &endedError{exitKilled}
		}
		chunk := buf[:n]
		if first {
			if _, err := dst.Write(chunk[:n/2]); err != nil {
				return total, err
			}
			if err := p.checkpoint(); err != nil {
				return total, err
			}
			chunk = chunk[n/2:]
		}
		if _, err := dst.Write(chunk); err != nil {
			return total, err
		}
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// exitPipe is the status of a program that wrote to a closed pipe.
const exitPipe = 128 + int(syscall.SIGPIPE)

// ended returns the exit status if err says that a checkpoint ended the program
// or its work, in which case it has printed why, or that nobody reads it.
func (p *proc) ended(err error) (int, bool) {
	if errors.Is(err, syscall.EPIPE) {
		return exitPipe, true
	}
	var killed *endedError
	if errors.As(err, &killed) {
		return killed.exit, true
	}
	var failed *faultError
	if errors.As(err, &failed) {
		fmt.Fprint(p.stderr, failed.stderr)
		return failed.exit, true
	}
	return 0, false
}

// orStdin is the operands, or standard input where there are none.
func orStdin(names []string) []string {
	if len(names) == 0 {
		return []string{"-"}
	}
	return names
}

func catProgram(p *proc) int {
	_, names, exit, ok := p.options(grammar{names: "u"}, 1)
	if !ok {
		return exit
	}
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		if err == nil {
			_, err = p.copy(p.stdout, f)
			err = errors.Join(err, f.Close())
		}
		if exit, ended := p.ended(err); ended {
			return exit
		}
		if err != nil {
			exit = p.failf(1, "cat: %s: %s", name, strerror(err))
		}
	}
	return exit
}

func wcProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "c l bytes lines"}, 1)
	if !ok {
		return exit
	}
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		if err != nil {
			exit = p.failf(1, "wc: %s: %s", name, strerror(err))
			continue
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			exit = p.failf(1, "wc: %s: %s", name, strerror(err))
			continue
		}
		count := len(data)
		if o.has("l") || o.has("lines") {
			count = strings.Count(string(data), "\n")
		}
		if name == "-" {
			fmt.Fprintln(p.stdout, count)
		} else {
			fmt.Fprintln(p.stdout, count, name)
		}
	}
	return exit
}

func sha256Program(p *proc) int {
	_, names, exit, ok := p.options(grammar{names: "b"}, 1)
	if !ok {
		return exit
	}
	for _, name := range orStdin(names) {
		f, err := p.use(name)
		sum := sha256.New()
		if err == nil {
			_, err = p.copy(sum, f)
			err = errors.Join(err, f.Close())
		}
		if exit, ended := p.ended(err); ended {
			return exit
		}
		if err != nil {
			exit = p.failf(1, "sha256sum: %s: %s", name, strerror(err))
			continue
		}
		fmt.Fprintf(p.stdout, "%s  %s\n", hex.EncodeToString(sum.Sum(nil)), name)
	}
	return exit
}

func base64Program(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "d decode w: wrap:"}, 1)
	if !ok {
		return exit
	}
	name := orStdin(names)[0]
	f, err := p.use(name)
	if err != nil {
		return p.failf(1, "base64: %s: %s", name, strerror(err))
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return p.failf(1, "base64: read error: %s", strerror(err))
	}
	if o.has("d") || o.has("decode") {
		raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(data), "\n", ""))
		_, _ = p.stdout.Write(raw)
		if err != nil {
			return p.failf(1, "base64: invalid input")
		}
		return 0
	}
	text := base64.StdEncoding.EncodeToString(data)
	width := 76
	for _, name := range []string{"w", "wrap"} {
		if o.has(name) {
			width, _ = strconv.Atoi(o.last(name)) // what is no number is 0: no wrapping
		}
	}
	for width > 0 && len(text) > width {
		fmt.Fprintln(p.stdout, text[:width])
		text = text[width:]
	}
	fmt.Fprint(p.stdout, text)
	if width > 0 && text != "" {
		fmt.Fprintln(p.stdout)
	}
	return 0
}

func teeProgram(p *proc) int {
	o, names, exit, ok := p.options(grammar{names: "a append"}, 1)
	if !ok {
		return exit
	}
	flag := os.O_TRUNC
	if o.has("a") || o.has("append") {
		flag = os.O_APPEND
	}
	all := []io.Writer{p.stdout}
	for _, name := range names {
		f, err := p.create(name, flag)
		if err != nil {
			exit = p.failf(1, "tee: %s: %s", name, strerror(err))
			continue
		}
		defer f.Close()
		all = append(all, f)
	}
	if _, err := p.copy(io.MultiWriter(all...), p.stdin); err != nil {
		if exit, ended := p.ended(err); ended {
			return exit
		}
		return p.failf(1, "tee: %s", strerror(err))
	}
	return exit
}

// ddProgram is dd with if, of, bs, count, conv, oflag and status; sizes of
// blocks do not matter here, and count is not modelled.
func ddProgram(p *proc) int {
	in, out, status := "-", "", ""
	for _, a := range p.argv[1:] {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "if":
			in = v
		case "of":
			out = v
		case "status":
			status = v
		case "bs", "conv", "oflag", "iflag", "ibs", "obs":
		default:
			return p.failf(1, "dd: unrecognized operand ‘%s’\nTry 'dd --help' for more information.", a)
		}
	}
	r, err := p.use(in)
	if err != nil {
		return p.failf(1, "dd: failed to open '%s': %s", in, strerror(err))
	}
	defer r.Close()
	w := io.WriteCloser(nopWriteCloser{p.stdout})
	if out != "" {
		if w, err = p.create(out, os.O_TRUNC); err != nil {
			return p.failf(1, "dd: failed to open '%s': %s", out, strerror(err))
		}
	}
	n, err := p.copy(w, r)
	err = errors.Join(err, w.Close())
	if exit, ended := p.ended(err); ended {
		return exit
	}
	if err != nil {
		return p.failf(1, "dd: error writing '%s': %s", out, strerror(err))
	}
	if status != "none" {
		fmt.Fprintf(p.stderr, "%d+%d records in\n%[1]d+%[2]d records out\n", n/512, min(n%512, 1))
	}
	return 0
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }
