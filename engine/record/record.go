// Package record knows where tengil keeps what on a node and how it marks what
// it made: the app's record, its secrets and intents below /etc/pve/priv, the
// line of JSON in a container's description, the lock of an app. The node is the
// only place where any of this is kept.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tengil/tengil/engine"
)

// Format is the version of everything this package writes. A reader refuses a
// higher one, so that an old tg never damages what a newer one made.
const Format = 1

// Base directories on a node. What lies below /etc/pve/priv is seen by every
// node of the cluster and readable by root alone; what lies below /run is gone
// after the node's restart, and so are the containers it speaks of.
const (
	privDir  = "/etc/pve/priv/tengil"
	runDir   = "/run/tengil"
	localDir = "/var/lib/tengil"
	lockDir  = "/run/tengil/.lock" // no app's name starts with a dot; /run/lock may be everybody's to write
)

// PrivFile returns the path of a file of the app that only root may read.
func PrivFile(app, name string) string { return path.Join(privDir, app, name) }

// PrivGlob matches all of them.
func PrivGlob(app string) string { return path.Join(privDir, app, "*") }

// RunFile returns the path of a file that need not outlive the node's uptime.
func RunFile(app, name string) string { return path.Join(runDir, app, name) }

// RunGlob matches all of them.
func RunGlob(app string) string { return path.Join(runDir, app, "*") }

// LocalFile returns the path of a file of the app that containers may read.
func LocalFile(app, name string) string { return path.Join(localDir, app, name) }

// ImageFile returns the path of the facts of one image; see builtins/oci.
func ImageFile(name string) string { return path.Join(localDir, "images", name+".json") }

// StoreFile returns a path in the node's store of images; see builtins/oci.
func StoreFile(elem ...string) string {
	return path.Join(append([]string{localDir, "store"}, elem...)...)
}

// LockPath returns the path of the app's lock.
func LockPath(app string) string { return path.Join(lockDir, app+".lock") }

// recordFile is the name of the file that holds a Record.
const recordFile = "record.json"

// A Record is what a node remembers of an app besides the things themselves.
type Record struct {
	Format  int               `json:"format"`
	App     string            `json:"app"`
	Source  string            `json:"source"`
	Digest  string            `json:"digest"`
	Options map[string]string `json:"options,omitempty"`
	// Given are the names of those that somebody chose; the others are defaults.
	Given   []string  `json:"given,omitempty"`
	Updated time.Time `json:"updated"`
	// Outputs are the results of the last run that are not secret.
	Outputs map[string]string `json:"outputs,omitempty"`
	// Containers tell by name how each is started. A record of an older tg lacks them.
	Containers map[string]Container `json:"containers,omitempty"`
	// Secrets are the names of those that were made. One that is among them and has
	// no file was lost: what it protects cannot be opened with a new one.
	Secrets []string `json:"secrets,omitempty"`
	// SealKey is what plans in files are sealed with (engine.Seal). It is made by the
	// first run and kept nowhere else, so that a file does not tell what it hides.
	SealKey []byte `json:"seal_key,omitempty"`
	// Unfinished is set while a run is under way, and stays set if it failed or was
	// cut: a container may lack its mounts then.
	Unfinished bool `json:"unfinished,omitempty"`
}

// A Container is how one is started without its recipe.
type Container struct {
	// Needs are the containers of the app that must be ready before it starts.
	Needs []string `json:"needs,omitempty"`
	// Ready is its probe, as builtins/probe keeps it; empty for none.
	Ready json.RawMessage `json:"ready,omitempty"`
	// Timeout is how long it may take to become ready.
	Timeout time.Duration `json:"ready_timeout,omitempty"` // nanoseconds
}

// File returns the file that holds r.
func (r Record) File() engine.File {
	r.Format = Format
	data, _ := json.MarshalIndent(r, "", "  ") // plain strings and a time: cannot fail
	return engine.File{Name: PrivFile(r.App, recordFile), Data: append(data, '\n'), Perm: 0o600}
}

// Read returns the app's record out of answers to PrivGlob(app); the error wraps
// fs.ErrNotExist if there is none.
func Read(a *engine.Answers, app string) (Record, error) {
	files, err := a.Glob(PrivGlob(app))
	if err != nil {
		return Record{}, err
	}
	return parseRecord(PrivFile(app, recordFile), files)
}

func parseRecord(name string, files map[string][]byte) (Record, error) {
	data, ok := files[name]
	if !ok {
		return Record{}, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%s: %w", name, err)
	}
	if r.Format < 1 {
		return Record{}, fmt.Errorf("%s: wanted the record of an app, got %.80q", name, data)
	}
	return r, checkFormat(name, r.Format)
}

// AllGlob matches the records of all apps; give its answer to All.
func AllGlob() string { return path.Join(privDir, "*", recordFile) }

// All returns every app's record, by app. One that cannot be read is left out
// and joined into the error.
func All(a *engine.Answers) (map[string]Record, error) {
	files, err := a.Glob(AllGlob())
	if err != nil {
		return nil, err
	}
	all := map[string]Record{}
	var errs []error
	for name := range files {
		r, err := parseRecord(name, files)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all[path.Base(path.Dir(name))] = r
	}
	return all, errors.Join(errs...)
}

// An Intent names what is being made before it can carry its own marks: while
// pct create works, the guest's config holds nothing but "lock: create".
type Intent struct {
	Format  int           `json:"format"`
	Step    engine.StepID `json:"step"`
	VMID    int           `json:"vmid"`
	Archive string        `json:"archive"`
	Unit    string        `json:"unit"`
	Address string        `json:"address,omitempty"` // fixed IPv4 address that it will have
}

// IntentPath returns where the intent of a step is kept.
func IntentPath(app string, step engine.StepID) string {
	return PrivFile(app, "intent."+FileName(string(step))+".json")
}

// IntentFile returns the file that holds i.
func IntentFile(app string, i Intent) engine.File {
	i.Format = Format
	data, _ := json.Marshal(i) // plain strings and numbers: cannot fail
	return engine.File{Name: IntentPath(app, i.Step), Data: append(data, '\n'), Perm: 0o600}
}

// Intents returns the intents of the app, by step.
func Intents(a *engine.Answers, app string) (map[engine.StepID]Intent, error) {
	files, err := a.Glob(PrivGlob(app))
	if err != nil {
		return nil, err
	}
	out := map[engine.StepID]Intent{}
	for name, data := range files {
		if !strings.HasPrefix(path.Base(name), "intent.") {
			continue
		}
		i, err := parseIntent(name, data)
		if err != nil {
			return nil, err
		}
		out[i.Step] = i
	}
	return out, nil
}

// AllIntentsGlob matches the intents of all apps; give its answer to AllIntents.
func AllIntentsGlob() string { return path.Join(privDir, "*", "intent.*") }

// AllIntents returns the intents of every app, by app.
func AllIntents(a *engine.Answers) (map[string][]Intent, error) {
	files, err := a.Glob(AllIntentsGlob())
	if err != nil {
		return nil, err
	}
	out := map[string][]Intent{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		i, err := parseIntent(name, files[name])
		if err != nil {
			return nil, err
		}
		app := path.Base(path.Dir(name))
		out[app] = append(out[app], i)
	}
	return out, nil
}

func parseIntent(name string, data []byte) (Intent, error) {
	var i Intent
	if err := json.Unmarshal(data, &i); err != nil {
		return i, engine.WithHint(fmt.Errorf("%s: %w", name, err), "tengil did not write it so; look whether a container is half made, then remove the file")
	}
	if !strings.HasPrefix(i.Unit, "tengil-") || i.VMID < 100 || i.Step == "" {
		return i, fmt.Errorf("%s: wanted a step, an id and a unit of tengil, got %.80q", name, data)
	}
	return i, checkFormat(name, i.Format)
}

var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// An Identity is the machine line in a container's description.
type Identity struct {
	Format int    `json:"tengil"`
	App    string `json:"app"`
	Name   string `json:"container"`
	VMID   int    `json:"vmid"`   // a clone or a restored backup has another one than it says
	Recipe string `json:"recipe"` // digest
	Image  string `json:"image"`  // reference@digest
}

// Description returns the text that a container carries: a note for people and
// the machine line.
func Description(note string, id Identity) string {
	id.Format = Format
	line, _ := json.Marshal(id) // plain strings: cannot fail
	return strings.TrimRight(note, "\n") + "\n\n" + string(line)
}

// ParseDescription returns the identity in a description; ok is false when it
// holds none, that is when tengil did not make the container.
func ParseDescription(s string) (id Identity, ok bool, err error) {
	const what = "machine line of the description"
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, `{"tengil":`) {
			continue // somebody may have written notes around it
		}
		if err := json.Unmarshal([]byte(line), &id); err != nil {
			return Identity{}, true, fmt.Errorf("%s: %w", what, err)
		}
		if !label.MatchString(id.App) || !label.MatchString(id.Name) {
			return Identity{}, true, fmt.Errorf("%s: app %q and container %q are no names", what, id.App, id.Name)
		}
		return id, true, checkFormat(what, id.Format)
	}
	return Identity{}, false, nil
}

func checkFormat(what string, format int) error {
	if format > Format {
		return engine.WithHint(fmt.Errorf("%s has format %d; this tg knows up to %d", what, format, Format),
			"a newer tg wrote it; update this one")
	}
	return nil
}

var notPlain = regexp.MustCompile(`[^a-zA-Z0-9.-]`)

// FileName turns any text into a file or unit name that differs for different
// texts: everything but letters, digits, "." and "-" becomes _xx.
func FileName(s string) string {
	return notPlain.ReplaceAllStringFunc(s, func(r string) string {
		var b strings.Builder
		for _, c := range []byte(r) {
			fmt.Fprintf(&b, "_%02x", c)
		}
		return b.String()
	})
}
