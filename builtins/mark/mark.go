// Package mark remembers on the node that the command of a step has run. The
// commands of a recipe have effects that nobody can look up again, so a small
// file in the app's directory says what was done.
package mark

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

const (
	prefix = "done." // begins the names of marks in the app's directory
	order  = 80      // marks are removed after what they speak of
)

// A Mark is the memory of one step.
type Mark struct {
	App  string
	Step engine.StepID
}

func (m Mark) file() string { return record.PrivFile(m.App, prefix+record.FileName(string(m.Step))) }

// Ask asks for the marks of the app.
func (m Mark) Ask() engine.Ask { return engine.AskGlob(record.PrivGlob(m.App)) }

// memory is the content of a mark's file.
type memory struct {
	Format int           `json:"format"`
	Step   engine.StepID `json:"step"`
	Did    string        `json:"did"` // digest of what was done
}

func (m Mark) memory(words []string) memory {
	return memory{record.Format, m.Step, pve.Digest([]byte(strings.Join(words, "\x00")))}
}

func parse(file string, data []byte) (memory, error) {
	var got memory
	if err := json.Unmarshal(data, &got); err != nil {
		return got, engine.WithHint(fmt.Errorf("%s: %w", file, err), "remove the file; the command then runs again")
	}
	if got.Format > record.Format {
		return got, fmt.Errorf("%s has format %d; this tg knows up to %d", file, got.Format, record.Format)
	}
	if got.Format < 1 || got.Step.Name() == "" || pve.CheckDigest(got.Did) != nil {
		return got, engine.WithHint(fmt.Errorf("%s: wanted the memory of a command, got %.80q", file, data), "remove the file; the command then runs again")
	}
	return got, nil
}

// Done reports whether Set was called with the same words.
func (m Mark) Done(a *engine.Answers, words ...string) (bool, error) {
	files, err := a.Glob(record.PrivGlob(m.App))
	if err != nil {
		return false, err
	}
	data, ok := files[m.file()]
	if !ok {
		return false, nil
	}
	got, err := parse(m.file(), data)
	return err == nil && got == m.memory(words), err
}

// Set remembers that what words describe is done, in place of what was done before.
func (m Mark) Set(ctx context.Context, h engine.Host, words ...string) error {
	data, err := json.Marshal(m.memory(words))
	if err != nil {
		return fmt.Errorf("mark of %s: %w", m.Step, err)
	}
	return act.WriteFile(ctx, h, engine.File{Name: m.file(), Data: append(data, '\n'), Perm: 0o600})
}

// FindAsks asks for the marks of all apps.
func FindAsks(*engine.Answers) []engine.Ask {
	return []engine.Ask{engine.AskGlob(record.PrivGlob("*"))}
}

// Find returns the function that tells the marks of one kind's steps.
func Find(kind string) func(*engine.Answers) ([]engine.Found, error) {
	return func(a *engine.Answers) ([]engine.Found, error) {
		files, err := a.Glob(record.PrivGlob("*"))
		if err != nil {
			return nil, err
		}
		var found []engine.Found
		for _, file := range slices.Sorted(maps.Keys(files)) {
			if !strings.HasPrefix(path.Base(file), prefix+record.FileName(kind+"/")) {
				continue
			}
			got, err := parse(file, files[file])
			if err != nil {
				return nil, err
			}
			found = append(found, engine.Found{
				App: path.Base(path.Dir(file)), Step: got.Step, What: "memory that " + string(got.Step) + " has run", Order: order,
				Remove: func(ctx context.Context, h engine.Host, _ func(string, int64, int64)) error {
					return act.Do(ctx, h, "rm", "-f", file)
				},
			})
		}
		return found, nil
	}
}
