package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"github.com/tengil/tengil/engine"
)

// A nodeValue is the node as the functions of a kind reach it. In observe it can
// only look: there is no way to write, and of programs it runs those of
// engine.CheckLooks.
type nodeValue struct{ ev *evaluation }

func (*nodeValue) String() string        { return "node" }
func (*nodeValue) Type() string          { return "node" }
func (*nodeValue) Freeze()               {}
func (*nodeValue) Truth() starlark.Bool  { return true }
func (*nodeValue) Hash() (uint32, error) { return 0, errors.New("unhashable: node") }

func (n *nodeValue) looks() bool { return n.ev.script.host == nil }

// AttrNames implements starlark.HasAttrs.
func (n *nodeValue) AttrNames() []string {
	if n.looks() {
		return []string{"read", "run"}
	}
	return []string{"read", "run", "write"}
}

// Attr implements starlark.HasAttrs.
func (n *nodeValue) Attr(name string) (starlark.Value, error) {
	switch {
	case name == "run":
		return n.method(name, n.runParams(), n.run), nil
	case name == "read":
		return n.method(name, []engine.Param{{Name: "path", Type: engine.TypeString, Required: true, Position: 1}}, n.read), nil
	case name == "write" && n.looks():
		return nil, errors.New("the node of observe has no write: observe only looks, and apply makes the changes")
	case name == "write":
		return n.method(name, []engine.Param{
			{Name: "path", Type: engine.TypeString, Required: true, Position: 1},
			{Name: "text", Type: engine.TypeText, Required: true, Position: 2},
			{Name: "mode", Type: engine.TypeString, Default: `"0644"`},
			{Name: "was", Type: engine.TypeString},
		}, n.write), nil
	}
	return nil, nil
}

func (n *nodeValue) runParams() []engine.Param {
	params := []engine.Param{{Name: "argv", Type: engine.TypeTexts, Required: true, Position: 1}, {Name: "exits", Type: typeRaw}}
	if !n.looks() {
		params = append(params, engine.Param{Name: "stdin", Type: engine.TypeText})
	}
	return params
}

func (n *nodeValue) method(name string, params []engine.Param, f func(engine.Args) (starlark.Value, error)) starlark.Value {
	full := "node." + name
	return starlark.NewBuiltin(full, func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		b, err := n.ev.bind(params, args, kwargs)
		if err != nil {
			return nil, callError(full, err)
		}
		v, err := f(b.args)
		if err != nil {
			return nil, callError(full, err)
		}
		return v, nil
	})
}

// run is node.run(argv, stdin=, exits=).
func (n *nodeValue) run(a engine.Args) (starlark.Value, error) {
	argv, err := n.argv(a.Texts("argv"))
	if err != nil {
		return nil, err
	}
	exits, err := exitsOf(a.Values["exits"])
	if err != nil {
		return nil, err
	}
	if n.looks() {
		if err := engine.CheckLooks(argv); err != nil {
			return nil, err
		}
		return n.ask(engine.AskRun(argv...), exits), nil
	}
	stdin, err := n.fill("stdin", a.Text("stdin"))
	if err != nil {
		return nil, err
	}
	var ans engine.Answer
	n.ev.meter.pause(func() {
		cmd := engine.Cmd{Argv: argv}
		if a.Has("stdin") {
			cmd.Stdin = strings.NewReader(stdin)
		}
		ans.Result, ans.Err = n.ev.script.host.Run(n.ev.script.ctx, cmd)
	})
	out := &answer{ev: n.ev, q: engine.AskRun(argv...), exits: exits, got: &ans}
	_, err = out.exit()
	return out, err
}

// argv returns the words of a command, in which nothing may be secret.
func (n *nodeValue) argv(texts []engine.Text) ([]string, error) {
	argv := make([]string, len(texts))
	for i, t := range texts {
		v := t.Fill(n.ev.script.call.In)
		switch {
		case t.Secret() || v.IsSecret():
			return nil, engine.WithHint(fmt.Errorf("argument %d holds a secret, which everyone on the node could read in its process list", i),
				"hand it over with stdin=, or in a file that node.write writes")
		case !v.IsKnown():
			return nil, fmt.Errorf("argument %d is %s, which is not known yet", i, t)
		case strings.ContainsRune(v.Reveal(), 0):
			return nil, fmt.Errorf("argument %d holds a NUL, which no argument can", i)
		}
		argv[i] = v.Reveal()
	}
	if len(argv) == 0 || argv[0] == "" || strings.HasPrefix(argv[0], "-") {
		return nil, errors.New("wanted a list of a program and its arguments")
	}
	return argv, nil
}

// fill returns a text that is known by now, secret or not.
func (n *nodeValue) fill(name string, t engine.Text) (string, error) {
	v := t.Fill(n.ev.script.call.In)
	if !v.IsKnown() {
		return "", fmt.Errorf("%s: %s is not known here", name, t)
	}
	return v.Reveal(), nil
}

// exitsOf returns which statuses of a program are answers; without any, 0.
func exitsOf(v any) ([]int, error) {
	if v == nil {
		return []int{0}, nil
	}
	return eachOf(v.(starlark.Value), "a list of exit statuses such as [0, 3]", func(e starlark.Value) (int, error) {
		n, err := toInt(e)
		if err == nil && (n < 0 || n > 125) {
			err = fmt.Errorf("wanted 0 to 125, got %d; what is above says that the program did not run", n)
		}
		return int(n), err
	})
}

// read is node.read(path).
func (n *nodeValue) read(a engine.Args) (starlark.Value, error) {
	name := a.String("path")
	if err := checkFile(name); err != nil {
		return nil, err
	}
	if strings.HasPrefix(name, "/dev/") {
		return nil, fmt.Errorf("%q: opening a device may change something", name)
	}
	q := engine.AskFile(name)
	if n.looks() {
		return n.ask(q, nil), nil
	}
	var got *engine.Answers
	var err error
	n.ev.meter.pause(func() { got, err = n.ev.script.host.Batch(n.ev.script.ctx, []engine.Ask{q}) })
	if err != nil {
		return nil, err
	}
	ans := got.Get(q)
	return &answer{ev: n.ev, q: q, got: &ans}, nil
}

// checkFile refuses paths that do not say plainly which file they mean.
func checkFile(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsAny(name, "\n\r") {
		return fmt.Errorf("wanted the absolute path of a file, got %q", name)
	}
	return nil
}

// write is node.write(path, text, mode=, was=).
func (n *nodeValue) write(a engine.Args) (starlark.Value, error) {
	f := engine.File{Name: a.String("path")}
	if err := checkFile(f.Name); err != nil {
		return nil, err
	}
	data, err := n.fill("text", a.Text("text"))
	if err != nil {
		return nil, err
	}
	mode, err := strconv.ParseUint(a.String("mode"), 8, 16)
	if err != nil || mode > 0o777 {
		return nil, fmt.Errorf("mode: wanted an octal number such as \"0644\", got %q", a.String("mode"))
	}
	f.Data, f.Perm = []byte(data), fs.FileMode(mode)
	if a.Has("was") {
		f.Was = []byte(a.String("was"))
	}
	n.ev.meter.pause(func() { err = n.ev.script.host.WriteFile(n.ev.script.ctx, f) })
	return starlark.None, err
}

// ask notes a question of observe; that it is not answered matters only to who looks
// at the answer, so that questions which do not depend on each other go together.
func (n *nodeValue) ask(q engine.Ask, exits []int) *answer {
	r := n.ev.script
	r.asks = append(r.asks, q)
	out := &answer{ev: n.ev, q: q, exits: exits}
	if r.known.Has(q) {
		ans := r.known.Get(q)
		out.got = &ans
	}
	return out
}

// An answer is what node.run and node.read return.
type answer struct {
	ev    *evaluation
	q     engine.Ask
	exits []int          // statuses that are answers
	got   *engine.Answer // nil: not asked yet
}

func (a *answer) String() string      { return fmt.Sprintf("the answer to %q", a.q) }
func (*answer) Type() string          { return "answer" }
func (*answer) Freeze()               {}
func (*answer) Truth() starlark.Bool  { return true } // conditions are checked before, see operators.go
func (*answer) Hash() (uint32, error) { return 0, errors.New("unhashable: answer") }

// AttrNames implements starlark.HasAttrs.
func (a *answer) AttrNames() []string {
	if a.q.Argv() == nil {
		return []string{"exists", "text"}
	}
	return []string{"exit", "ok", "stderr", "stdout"}
}

// Attr implements starlark.HasAttrs.
func (a *answer) Attr(name string) (starlark.Value, error) {
	if !slices.Contains(a.AttrNames(), name) {
		return nil, nil
	}
	if a.got == nil {
		return nil, errUnanswered
	}
	if a.q.Argv() == nil {
		return a.file(name)
	}
	exit, err := a.exit()
	if err != nil {
		return nil, err
	}
	switch name {
	case "exit":
		return starlark.MakeInt(exit), nil
	case "ok":
		return starlark.Bool(exit == 0), nil
	case "stderr":
		return a.text(a.got.Result.Stderr)
	}
	return a.text(a.got.Result.Stdout)
}

// exit returns how the command ended. A status that is no answer is an error: who
// could not look has not seen that nothing is there.
func (a *answer) exit() (int, error) {
	err := a.got.Err
	var exit *engine.ExitError
	if err == nil || errors.As(err, &exit) && slices.Contains(a.exits, exit.Exit) || errors.Is(err, engine.ErrNobody) {
		if exit != nil {
			return exit.Exit, nil
		}
		return a.got.Result.Exit, nil
	}
	return 0, err
}

func (a *answer) file(name string) (starlark.Value, error) {
	missing := errors.Is(a.got.Err, fs.ErrNotExist)
	switch {
	case a.got.Err != nil && !missing:
		return nil, a.got.Err
	case name == "exists":
		return starlark.Bool(!missing), nil
	case missing:
		return starlark.None, nil
	}
	return a.text(a.got.Data)
}

// text returns what the node said, as a string.
func (a *answer) text(data []byte) (starlark.Value, error) {
	s := strings.ToValidUTF8(string(data), "\ufffd")
	if strings.Contains(s, markerBegin) || strings.Contains(s, markerEnd) {
		return nil, fmt.Errorf("%s holds the character U+E000 or U+E001, which tengil keeps for itself", a)
	}
	return starlark.String(s), a.ev.meter.checkString(int64(len(s)))
}
