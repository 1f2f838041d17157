package lab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
)

// headProgram is head and tail with -c and -n, also as -NUMBER.
func headProgram(p *proc) int {
	me := path.Base(p.argv[0])
	p.argv = append(p.argv[:1:1], numbered(p.argv[1:])...)
	o, names, exit, ok := p.options(grammar{names: "c: n: bytes: lines: q"}, 1)
	if !ok {
		return exit
	}
	h := header{proc: p, count: 10, tail: me == "tail"}
	for _, name := range []string{"n", "lines", "c", "bytes"} {
		if !o.has(name) {
			continue
		}
		text, from := strings.CutPrefix(o.last(name), "+")
		n, err := strconv.Atoi(text)
		if err != nil {
			return p.failf(1, "%s: invalid number of lines: ‘%s’", me, o.last(name))
		}
		h.count, h.bytes, h.from = n, name == "c" || name == "bytes", from && h.tail
	}
	for i, name := range orStdin(names) {
		f, err := p.use(name)
		if err != nil {
			exit = p.failf(1, "%s: cannot open '%s' for reading: %s", me, name, strerror(err))
			continue
		}
		if len(names) > 1 && !o.has("q") {
			if i > 0 {
				fmt.Fprintln(p.stdout)
			}
			fmt.Fprintf(p.stdout, "==> %s <==\n", name)
		}
		err = h.show(f)
		if p.ctx.Err() != nil {
			return exitKilled
		}
		if err := errors.Join(err, f.Close()); err != nil {
			exit = p.failf(1, "%s: error reading '%s': %s", me, name, strerror(err))
		}
	}
	return exit
}

// A header is one run of head or tail.
type header struct {
	*proc
	count       int // below 0: all but as many
	bytes, tail bool
	from        bool // tail: all from that one on
}

// show prints the part of one file that is asked for. Of what head does not
// print it reads no byte, so that who comes next can go on with it.
func (h header) show(f io.Reader) error {
	if h.tail || h.count < 0 {
		return h.cut(f)
	}
	if h.bytes {
		_, err := pour(h.stdout, io.LimitReader(f, int64(h.count)))
		return err
	}
	r := bufio.NewReader(f)
	for range h.count {
		line, err := r.ReadBytes('\n')
		if _, werr := h.stdout.Write(line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut prints what can be told only at the end of the file.
func (h header) cut(f io.Reader) error {
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	ends := unitEnds(data, h.bytes)
	keep := h.count
	if h.from {
		keep = max(len(ends)-max(h.count-1, 0), 0)
	}
	if keep < 0 {
		keep = max(len(ends)+keep, 0)
	}
	keep = min(keep, len(ends))
	switch {
	case keep == 0:
		return nil
	case !h.tail:
		data = data[:ends[keep-1]]
	case keep < len(ends):
		data = data[ends[len(ends)-keep-1]:]
	}
	_, err = h.stdout.Write(data)
	return err
}

// unitEnds returns where each byte, or each line, ends.
func unitEnds(data []byte, each bool) []int {
	var ends []int
	for i, b := range data {
		if each || b == '\n' || i == len(data)-1 {
			ends = append(ends, i+1)
		}
	}
	return ends
}
