// Package secret is the recipe function secret: a random value that is made
// once, on the node, and kept where root alone reads.
package secret

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

// KindName is the name of the recipe function.
const KindName = record.SecretKind

// alphabets are what a secret can be made of, by the name a recipe uses.
func alphabets() map[string]string {
	const lower, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	return map[string]string{
		"alnum": lower + strings.ToUpper(lower) + digits,
		"lower": lower + digits,
		"hex":   digits + "abcdef",
		"digit": digits,
	}
}

const (
	minLength, maxLength = 8, 1024
	// filePrefix begins the names of secrets' files in the app's directory.
	filePrefix = "secret."
	// order puts secrets last in a removal: what uses them goes first.
	order = 90
)

// Secret returns the kind.
func Secret() engine.Kind {
	return engine.Kind{
		Name: KindName,
		Doc: "Makes a random secret. It is generated once, on the first run, kept on the node below /etc/pve/priv " +
			"where only root reads it, and never shown. A call evaluates to the value, which can be used in env, files and stdin.",
		Example: `password = secret("db_password")`,
		Params: []engine.Param{
			{Name: "name", Type: engine.TypeString, Required: true, Position: 1,
				Doc:     "Names the secret within the app: letters, digits, `_` and `-`. A new name makes a new secret.",
				Example: `"db_password"`},
			{Name: "length", Type: engine.TypeInt, Default: "32",
				Doc:     fmt.Sprintf("Number of characters, %d to %d. An existing secret keeps its length.", minLength, maxLength),
				Example: `48`},
			{Name: "alphabet", Type: engine.TypeString, Default: "alnum", Choices: slices.Sorted(maps.Keys(alphabets())),
				Doc:     "What it is made of: letters and digits, lower-case letters and digits, hexadecimal digits, or digits.",
				Example: `"hex"`},
		},
		Outputs:  []engine.Output{{Name: "value", Doc: "The secret itself.", Secret: true}},
		Result:   "value",
		New:      newSecret,
		FindAsks: func(*engine.Answers) []engine.Ask { return []engine.Ask{engine.AskGlob(record.PrivGlob("*"))} },
		Find:     find,
	}
}

func newSecret(c engine.Call) (*engine.Made, error) {
	name := c.Args.String("name")
	if err := checkName(name); err != nil {
		return nil, engine.ArgErrorf("name", "%w", err)
	}
	length := int64(32)
	if c.Args.Has("length") {
		length = c.Args.Int("length")
	}
	if length < minLength || length > maxLength {
		return nil, engine.ArgErrorf("length", "wanted %d to %d, got %d", minLength, maxLength, length)
	}
	alphabet := c.Args.String("alphabet")
	if alphabet == "" {
		alphabet = "alnum"
	}
	s := spec{
		app:      c.App,
		file:     record.PrivFile(c.App, filePrefix+name),
		length:   int(length),
		alphabet: alphabets()[alphabet],
		random:   rand.Reader,
	}
	return &engine.Made{Name: name, Parts: []engine.Part{{Spec: s}}}, nil
}

func checkName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("wanted 1 to 64 characters, got %d", len(name))
	}
	for _, r := range name {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r) {
			return fmt.Errorf("%q holds %q; wanted letters, digits, %q and %q", name, r, "_", "-")
		}
	}
	return nil
}

// A spec is one secret.
type spec struct {
	app      string
	file     string
	length   int
	alphabet string
	random   io.Reader
}

// A state is the secret as found; nil means there is none. Value is exported
// since fmt masks a Secret in no other field.
type state struct {
	Value engine.Secret
	lost  bool // an earlier run made it, and its file is gone
}

func (s spec) Asks(*engine.Answers) []engine.Ask {
	return []engine.Ask{engine.AskGlob(record.PrivGlob(s.app))}
}

func (s spec) Observe(a *engine.Answers) (engine.State, error) {
	files, err := a.Glob(record.PrivGlob(s.app))
	if err != nil {
		return nil, err
	}
	data, ok := files[s.file]
	if !ok {
		return s.missing(a)
	}
	value, err := parse(s.file, data)
	return &state{Value: value}, err
}

// missing tells a secret that was never made from one that was lost.
func (s spec) missing(a *engine.Answers) (engine.State, error) {
	r, err := record.Read(a, s.app)
	switch {
	case err == nil && slices.Contains(r.Secrets, s.name()):
		return &state{lost: true}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return (*state)(nil), nil
}

func (s spec) name() string { return strings.TrimPrefix(path.Base(s.file), filePrefix) }

// parse checks the content of a secret's file: one line that is not empty.
func parse(file string, data []byte) (engine.Secret, error) {
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" || strings.ContainsAny(text, "\n\r\x00") {
		return "", engine.WithHint(fmt.Errorf("%s: wanted one line of text, got %d bytes that are not", file, len(data)),
			"restore the file from a backup; where nothing uses the secret yet, remove the file and run tg again")
	}
	return engine.Secret(text), nil
}

func (s spec) Diff(now engine.State, _ engine.Inputs) (engine.Diff, error) {
	if st := now.(*state); st != nil && st.lost {
		return engine.Diff{
			Changes: []engine.Change{{Action: engine.AdoptRefused,
				Why:  fmt.Sprintf("an earlier run made the secret, but %s is gone; what it protects, such as a database, cannot be opened with a new one", s.file),
				Hint: s.restore()}},
			Outputs: engine.Outputs{"value": engine.Unknown("once it is restored").Sensitive()},
		}, nil
	} else if st != nil {
		return engine.Diff{Outputs: outputs(st.Value)}, nil
	}
	return engine.Diff{
		Changes: []engine.Change{{Action: engine.Create, To: strconv.Itoa(s.length) + " random characters",
			Why: "the app has no secret of that name yet"}},
		Outputs: engine.Outputs{"value": engine.Unknown("once it is generated").Sensitive()},
	}, nil
}

// restore tells how to bring a lost secret back.
func (s spec) restore() string {
	return fmt.Sprintf("on the node, put it back from a backup, or from the environment of a container that has it:\n"+
		"    grep -r lxc.environment.runtime /etc/pve/nodes/*/lxc\n"+
		"    cat >%s\nwhere nothing is protected by it any more, write a new one there", s.file)
}

func outputs(v engine.Secret) engine.Outputs {
	return engine.Outputs{"value": engine.Known(v.Reveal()).Sensitive()}
}

// Apply writes a new secret only where there is none: a secret that somebody
// else made meanwhile is taken as it is.
func (s spec) Apply(ctx context.Context, w engine.Work) (engine.Outputs, error) {
	value, err := s.generate()
	if err != nil {
		return nil, err
	}
	err = act.WriteFile(ctx, w.Host, engine.File{Name: s.file, Data: []byte(value.Reveal() + "\n"), Perm: 0o600, Was: []byte{}})
	if errors.Is(err, engine.ErrChanged) {
		return s.read(ctx, w.Host)
	}
	if err != nil {
		return nil, err
	}
	return outputs(value), nil
}

func (s spec) read(ctx context.Context, h engine.Host) (engine.Outputs, error) {
	data, err := act.ReadFile(ctx, h, s.file)
	if err != nil {
		return nil, err
	}
	value, err := parse(s.file, data)
	if err != nil {
		return nil, err
	}
	return outputs(value), nil
}

// generate draws characters evenly: a byte that would favour the first ones of
// the alphabet is thrown away.
func (s spec) generate() (engine.Secret, error) {
	limit := 256 - 256%len(s.alphabet)
	out := make([]byte, 0, s.length)
	buf := make([]byte, s.length)
	for len(out) < s.length {
		if _, err := io.ReadFull(s.random, buf); err != nil {
			return "", fmt.Errorf("random source: %w", err)
		}
		for _, b := range buf {
			if int(b) < limit && len(out) < s.length {
				out = append(out, s.alphabet[int(b)%len(s.alphabet)])
			}
		}
	}
	return engine.Secret(out), nil
}

// All returns the secrets of the app, by name, for an owner who asks for them.
func All(ctx context.Context, h engine.Host, app string) (map[string]engine.Secret, error) {
	ask := engine.AskGlob(record.PrivGlob(app))
	a, err := h.Batch(ctx, []engine.Ask{ask})
	if err != nil {
		return nil, err
	}
	files, err := a.Glob(ask.Glob())
	if err != nil {
		return nil, err
	}
	all := map[string]engine.Secret{}
	for file, data := range files {
		name, ok := strings.CutPrefix(path.Base(file), filePrefix)
		if !ok {
			continue
		}
		if all[name], err = parse(file, data); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// find tells the secrets of all apps. They count as data: without them the
// datasets that were made with them cannot be used again.
func find(a *engine.Answers) ([]engine.Found, error) {
	files, err := a.Glob(record.PrivGlob("*"))
	if err != nil {
		return nil, err
	}
	var found []engine.Found
	for _, file := range slices.Sorted(maps.Keys(files)) {
		name, ok := strings.CutPrefix(path.Base(file), filePrefix)
		if !ok {
			continue
		}
		found = append(found, engine.Found{
			App: path.Base(path.Dir(file)), Step: engine.StepID(KindName + "/" + name),
			What: "secret " + name, Loses: "its value, without which what it protects cannot be opened", Data: true, Order: order,
			Remove: func(ctx context.Context, h engine.Host, _ func(string, int64, int64)) error {
				return act.Do(ctx, h, "rm", "-f", file)
			},
		})
	}
	return found, nil
}

// Known returns the secrets of an app out of answers to record.PrivGlob, so that they
// are masked where no recipe tells of them.
func Known(a *engine.Answers, app string) (engine.Outputs, error) {
	files, err := a.Glob(record.PrivGlob(app))
	out := engine.Outputs{}
	for file, data := range files {
		if name, ok := strings.CutPrefix(path.Base(file), filePrefix); ok {
			out["secret "+name] = engine.Known(strings.TrimSuffix(string(data), "\n")).Sensitive()
		}
	}
	return out, err
}
