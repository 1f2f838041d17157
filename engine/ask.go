package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// An Ask is one read-only question to a node. Asks are comparable by Key, and
// equal ones are sent once. Make them with AskRun, AskFile and AskGlob.
type Ask struct {
	argv []string
	file string
	glob string
}

// AskRun asks what a read-only command prints.
func AskRun(argv ...string) Ask { return Ask{argv: argv} }

// AskFile asks for the content of one file.
func AskFile(name string) Ask { return Ask{file: name} }

// AskGlob asks for the content of every regular file whose absolute path matches
// pattern, in which only * (not crossing /) is special and which must not hold
// recipe text.
func AskGlob(pattern string) Ask { return Ask{glob: pattern} }

// Argv returns the command of an AskRun, else nil.
func (a Ask) Argv() []string { return a.argv }

// File returns the path of an AskFile, else "".
func (a Ask) File() string { return a.file }

// Glob returns the pattern of an AskGlob, else "".
func (a Ask) Glob() string { return a.glob }

// Key is equal for equal questions.
func (a Ask) Key() string {
	switch {
	case a.file != "":
		return "file\x00" + a.file
	case a.glob != "":
		return "glob\x00" + a.glob
	}
	return "run\x00" + strings.Join(a.argv, "\x00")
}

// String is for messages: the command, or "read NAME".
func (a Ask) String() string {
	switch {
	case a.file != "":
		return "read " + a.file
	case a.glob != "":
		return "read " + a.glob
	}
	return strings.Join(a.argv, " ")
}

// An Answer is what a node said to one Ask. Err is set when there is no answer:
// for a missing file it wraps fs.ErrNotExist; a command that ended with another
// status than 0 is an *ExitError with Result filled.
type Answer struct {
	Result Result            // of AskRun
	Data   []byte            // of AskFile
	Files  map[string][]byte // of AskGlob, by absolute path
	Err    error
}

// Answers hold what a node said, by question. They are read-only once made,
// except that Parsed keeps what was parsed out of them.
type Answers struct {
	byKey map[string]Answer
	memo  sync.Map // name → func() (any, error), for Parsed
}

// NewAnswers returns Answers that hold m, by Ask.Key.
func NewAnswers(m map[string]Answer) *Answers {
	if m == nil {
		m = map[string]Answer{}
	}
	return &Answers{byKey: m}
}

// Merge returns Answers that hold what both hold; those of b win. Memos are not kept.
func (a *Answers) Merge(b *Answers) *Answers {
	m := make(map[string]Answer, len(a.byKey)+len(b.byKey))
	for _, from := range []*Answers{a, b} {
		for k, v := range from.byKey {
			m[k] = v
		}
	}
	return NewAnswers(m)
}

// Get returns the answer to q. A question that was never asked is a bug in the
// caller; its Answer has an Err that says so.
func (a *Answers) Get(q Ask) Answer {
	if v, ok := a.byKey[q.Key()]; ok {
		return v
	}
	return Answer{Err: fmt.Errorf("no answer to %q", q.String())}
}

// Empty reports whether nothing was asked.
func (a *Answers) Empty() bool { return len(a.byKey) == 0 }

// Has reports whether q was asked.
func (a *Answers) Has(q Ask) bool { _, ok := a.byKey[q.Key()]; return ok }

// Missing returns those of asks that a does not hold, each once, in order.
func (a *Answers) Missing(asks []Ask) []Ask {
	seen := map[string]bool{}
	var out []Ask
	for _, q := range asks {
		k := q.Key()
		if _, ok := a.byKey[k]; ok || seen[k] {
			continue
		}
		seen[k] = true
		out = append(out, q)
	}
	return out
}

// Without returns the answers to all questions but asks.
func (a *Answers) Without(asks []Ask) *Answers {
	m := maps.Clone(a.byKey)
	for _, q := range asks {
		delete(m, q.Key())
	}
	return NewAnswers(m)
}

// Only returns the answers to asks.
func (a *Answers) Only(asks []Ask) *Answers {
	some := make(map[string]Answer, len(asks))
	for _, q := range asks {
		some[q.Key()] = a.Get(q)
	}
	return NewAnswers(some)
}

// Run returns what the command of q printed.
func (a *Answers) Run(argv ...string) (Result, error) {
	v := a.Get(AskRun(argv...))
	return v.Result, v.Err
}

// File returns the content of a file; the error wraps fs.ErrNotExist if there is none.
func (a *Answers) File(name string) ([]byte, error) {
	v := a.Get(AskFile(name))
	return v.Data, v.Err
}

// Glob returns the files that match a pattern, by path.
func (a *Answers) Glob(pattern string) (map[string][]byte, error) {
	v := a.Get(AskGlob(pattern))
	return v.Files, v.Err
}

// Parsed returns parse(a), computed once for each name however many nodes ask,
// so that parsing what all steps share stays linear in its size.
func Parsed[T any](a *Answers, name string, parse func(*Answers) (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	f, _ := a.memo.LoadOrStore(name, sync.OnceValue(func() any {
		v, err := parse(a)
		return result{v, err}
	}))
	r := f.(func() any)().(result)
	return r.v, r.err
}

// ErrNobody is wrapped by the Err of NothingThere's answers to commands: no node
// was asked, so that a failure tells nothing of one.
var ErrNobody = errors.New("there is no node to ask")

// NothingThere returns the answer of a node on which nothing exists: every file
// is missing, every glob empty, every command failed with status 1. The error of
// a command wraps ErrNobody besides the *ExitError.
func NothingThere(q Ask) Answer {
	switch {
	case q.file != "":
		return Answer{Err: &fs.PathError{Op: "read", Path: q.file, Err: fs.ErrNotExist}}
	case q.glob != "":
		return Answer{Files: map[string][]byte{}}
	}
	exit := &ExitError{Argv: slices.Clone(q.argv), Exit: 1}
	return Answer{Err: fmt.Errorf("%w: %w", ErrNobody, exit), Result: Result{Exit: 1}}
}
