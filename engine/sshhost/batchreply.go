package sshhost

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strconv"
	"strings"

	"github.com/tengil/tengil/engine"
)

// answers takes the reply of a batch apart.
func (q *questions) answers(m mark, reply []byte) (*engine.Answers, error) {
	got := newReceived(len(q.globs))
	records := bytes.Split(reply, []byte(m))
	for _, rec := range records[1:] {
		if err := got.record(rec); err != nil {
			return nil, err
		}
	}
	all := maps.Clone(q.refused)
	for _, a := range q.files {
		all[a.Key()] = got.file(a)
	}
	for i, a := range q.globs {
		all[a.Key()] = got.glob(i)
	}
	for i, a := range q.runs {
		all[a.Key()] = got.run(i, a)
	}
	return engine.NewAnswers(all), nil
}

// received is what a reply holds, while it is read record by record. The maps are
// by the name of a file.
type received struct {
	asked   map[string]engine.Answer
	sets    []map[string]engine.Answer // of each glob
	outputs map[string]engine.Answer   // of commands: "0.o"

	into      map[string]engine.Answer // the one of the above that is being filled
	inOutputs bool

	names []string // announced, not yet sent
	sent  []fileContent
	alone *loneFile // nil while files come together
}

type fileContent struct {
	name string
	data []byte
}

// A loneFile is read by itself: first its content comes, then what head said.
type loneFile struct {
	name, status string
	data         []byte
	hasData      bool
}

func newReceived(globs int) *received {
	r := &received{asked: map[string]engine.Answer{}, outputs: map[string]engine.Answer{}}
	for range globs {
		r.sets = append(r.sets, map[string]engine.Answer{})
	}
	r.into = r.asked
	return r
}

var errBatchReply = errors.New("unexpected reply to a batch")

// record takes one record without its mark.
func (r *received) record(rec []byte) error {
	line, data, ok := bytes.Cut(rec, []byte("\n"))
	if !ok || len(line) == 0 {
		return fmt.Errorf("%w: record %.40q", errBatchReply, rec)
	}
	arg := strings.TrimSpace(string(line[1:]))
	switch line[0] {
	case 'g':
		i, err := strconv.Atoi(arg)
		if err != nil || i < 0 || i >= len(r.sets) {
			return fmt.Errorf("%w: group %q", errBatchReply, arg)
		}
		r.into = r.sets[i]
	case 'c':
		r.into, r.inOutputs = r.outputs, true
	case 'm':
		r.say(data, fs.ErrNotExist)
	case 'r':
		r.say(data, errors.New("not a regular file"))
	case 'n':
		r.names, r.sent, r.alone = fileNames(data), nil, nil
	case 'd':
		return r.content(data)
	case 'k':
		r.settle()
	case 'x':
		r.names, r.sent = nil, nil
	case 'o':
		return r.one(arg, data)
	default:
		return fmt.Errorf("%w: record %.40q", errBatchReply, rec)
	}
	return nil
}

// fileNames returns every second name: the others are of the separator.
func fileNames(data []byte) []string {
	all := splitNUL(data)
	var out []string
	for i := 1; i < len(all); i += 2 {
		out = append(out, all[i])
	}
	return out
}

func splitNUL(data []byte) []string {
	s := strings.TrimSuffix(string(data), "\x00")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x00")
}

func (r *received) say(names []byte, err error) {
	for _, name := range splitNUL(names) {
		r.put(name, engine.Answer{Err: &fs.PathError{Op: "read", Path: name, Err: err}})
	}
}

// content takes the next file of those announced.
func (r *received) content(data []byte) error {
	switch f := r.alone; {
	case f != nil && !f.hasData:
		f.data, f.hasData = data, true
	case f != nil && f.status == "0":
		r.put(f.name, engine.Answer{Data: f.data})
		r.alone = nil
	case f != nil:
		r.put(f.name, engine.Answer{Err: readError(f.name, string(data))})
		r.alone = nil
	case len(r.names) == 0:
		return fmt.Errorf("%w: a file without a name", errBatchReply)
	default:
		r.sent = append(r.sent, fileContent{r.names[0], data})
		r.names = r.names[1:]
	}
	return nil
}

// settle accepts what head read without complaint.
func (r *received) settle() {
	for _, f := range r.sent {
		r.put(f.name, engine.Answer{Data: f.data})
	}
	r.names, r.sent = nil, nil
}

// put files an answer. Outputs of commands lie in a directory whose name only the
// node knows, so they go by their base name.
func (r *received) put(name string, a engine.Answer) {
	if r.inOutputs {
		name = path.Base(name)
	}
	r.into[name] = a
}

// one announces one file that is read by itself.
func (r *received) one(status string, name []byte) error {
	names := splitNUL(name)
	if len(names) != 1 {
		return fmt.Errorf("%w: %d names, wanted 1", errBatchReply, len(names))
	}
	r.alone = &loneFile{name: names[0], status: status}
	return nil
}

// readError turns what head said about a file into an error. The texts are those
// of strerror(3) in the C locale, which every command runs in.
func readError(name, said string) error {
	err := errors.New(strings.TrimSpace(said))
	switch {
	case strings.Contains(said, "No such file or directory"):
		err = fs.ErrNotExist
	case strings.Contains(said, "Permission denied"):
		err = fs.ErrPermission
	}
	return &fs.PathError{Op: "read", Path: name, Err: err}
}

func (r *received) file(a engine.Ask) engine.Answer {
	if got, ok := r.asked[a.File()]; ok {
		return got
	}
	return engine.Answer{Err: fmt.Errorf("%w: nothing about %q", errBatchReply, a.File())}
}

// glob returns the files of one glob. A file that vanished meanwhile is not there;
// one that cannot be read fails the whole, because it may be what matters.
func (r *received) glob(i int) engine.Answer {
	out := engine.Answer{Files: map[string][]byte{}}
	var errs []error
	for name, a := range r.sets[i] {
		switch {
		case a.Err == nil:
			out.Files[name] = a.Data
		case !errors.Is(a.Err, fs.ErrNotExist):
			errs = append(errs, a.Err)
		}
	}
	out.Err = errors.Join(errs...)
	return out
}

func (r *received) run(i int, a engine.Ask) engine.Answer {
	part := func(ext string) []byte { return r.outputs[strconv.Itoa(i)+ext].Data }
	status, err := strconv.Atoi(strings.TrimSpace(string(part(".s"))))
	if err != nil {
		return engine.Answer{Err: fmt.Errorf("%w: no status of %q", errBatchReply, a.Argv()[0])}
	}
	res := engine.Result{Stdout: part(".o"), Stderr: part(".e"), Exit: status}
	if status == 0 {
		return engine.Answer{Result: res}
	}
	return engine.Answer{Result: res, Err: &engine.ExitError{
		Argv: a.Argv(), Exit: status, Stdout: res.Stdout, Stderr: res.Stderr,
	}}
}
