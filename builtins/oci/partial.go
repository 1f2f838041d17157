package oci

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/tengil/tengil/builtins/act"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
	"github.com/tengil/tengil/engine/unit"
)

const partialSuffix = ".partial"

// partialOf returns the name under which a pull for the app writes an archive.
// The app's name keeps two runs from writing one file; the app's own lock keeps
// two runs of one app apart.
func partialOf(archive, app string) string {
	return path.Join(path.Dir(archive), "."+path.Base(archive)+"."+app+partialSuffix)
}

// partialApp is the reverse: whose pull writes to the file, "" if it is no such
// file. Names of apps hold no dots.
func partialApp(partial string) string {
	base, ok := strings.CutSuffix(path.Base(partial), partialSuffix)
	i := strings.LastIndexByte(base, '.')
	if !ok || !strings.HasPrefix(base, ".") || i < 1 {
		return ""
	}
	return base[i+1:]
}

// order puts what is left of pulls after containers in a removal.
const order = 70

func findAsks(*engine.Answers) []engine.Ask {
	return []engine.Ask{engine.AskGlob(record.ImageFile("*"))}
}

// find tells what pulls of all apps that did not end have left. Images
// themselves belong to no app.
func find(a *engine.Answers) ([]engine.Found, error) {
	files, err := a.Glob(record.ImageFile("*"))
	if err != nil {
		return nil, err
	}
	var found []engine.Found
	for _, file := range slices.Sorted(maps.Keys(files)) {
		f, err := parseFacts(file, files[file])
		if err != nil {
			continue // the step that wants the image tells
		}
		if app := partialApp(f.Partial); app != "" {
			found = append(found, engine.Found{
				App: app, Step: engine.StepID(KindName + "/" + stepName(f.Ref, f.Arch)), What: "unfinished pull of " + f.Ref, Order: order,
				Remove: func(ctx context.Context, h engine.Host, report func(string, int64, int64)) error {
					report("wait for the pull of "+f.Ref, 0, 0)
					return f.removePartial(ctx, h, file)
				},
			})
		}
	}
	return found, nil
}

// removePartial removes what a pull has left, and that the facts tell of it.
func (f facts) removePartial(ctx context.Context, h engine.Host, file string) error {
	key := strings.TrimSuffix(path.Base(file), path.Ext(file))
	if err := unit.Await(ctx, h, taskOf(key, nil).Unit()); err != nil {
		return err
	}
	if err := act.Do(ctx, h, "rm", "-rf", "--", f.Partial, pullDir(key, partialApp(f.Partial))); err != nil {
		return err
	}
	data, err := act.ReadFile(ctx, h, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now, err := parseFacts(file, data)
	switch {
	case err != nil || now.Partial != f.Partial: // another pull has written them since
		return err
	case now.Archive == "":
		return act.Do(ctx, h, "rm", "-f", file)
	}
	now.Partial = ""
	return now.write(ctx, h, file)
}

func (f facts) write(ctx context.Context, h engine.Host, file string) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return act.WriteFile(ctx, h, engine.File{Name: file, Data: append(data, '\n'), Perm: 0o600})
}
