package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/builtins"
	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/exec"
	"github.com/tengil/tengil/engine/lab"
	"github.com/tengil/tengil/engine/plan"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/sshhost"
)

// A nodeModel is what a node says that holds one cell of manyRecipe: what the
// lab answered after the recipe had run there. A node with many cells says the
// same for each, under other names, ids and addresses.
type nodeModel struct {
	Facts   *engine.Facts
	Answers map[string]answer // by Ask.Key
}

// An answer is an engine.Answer as JSON.
type answer struct {
	Stdout, Data []byte            `json:",omitempty"`
	Files        map[string][]byte `json:",omitempty"`
	Exit         int               `json:",omitempty"`
	Missing      bool              `json:",omitempty"`
}

// captureModel runs manyRecipe with one cell on a lab in dir and writes down what
// is asked and answered when it runs again.
func captureModel(ctx context.Context, dir, file string) error {
	l, err := lab.Open(ctx, lab.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer l.Close()
	host, err := dialBench(ctx, l.Endpoint())
	if err != nil {
		return err
	}
	defer host.Close()
	facts, err := (&node{Host: host}).facts(ctx)
	if err != nil {
		return err
	}
	graph, err := loadMany(ctx, facts, 1)
	if err != nil {
		return err
	}
	rec := recorder{host, map[string]answer{}}
	for again := range 2 {
		clear(rec.seen)
		p, err := plan.Build(ctx, graph, rec, facts, plan.Options{Kinds: builtins.Kinds()})
		if err != nil {
			return err
		}
		if again == 1 && !p.Empty() {
			return errors.New("the lab still has something to do:\n" + plan.Text(p))
		}
		if _, err := exec.Run(ctx, p, host, exec.Options{}); err != nil {
			return err
		}
	}
	return writeJSON(file, nodeModel{facts, rec.seen})
}

func dialBench(ctx context.Context, at lab.Endpoint) (*sshhost.Host, error) {
	return sshhost.DialEndpoint(ctx, sshhost.Endpoint{
		Addr: at.Addr, User: at.User, HostKey: at.HostKey, KeyFile: at.ClientKey, Name: labName,
	}, sshhost.Options{})
}

// A recorder writes down all answers.
type recorder struct {
	engine.Host
	seen map[string]answer
}

func (r recorder) Batch(ctx context.Context, asks []engine.Ask) (*engine.Answers, error) {
	all, err := r.Host.Batch(ctx, asks)
	if err != nil {
		return nil, err
	}
	for _, q := range asks {
		a := all.Get(q)
		got := answer{Stdout: a.Result.Stdout, Data: a.Data, Files: a.Files}
		var exit *engine.ExitError
		switch {
		case errors.As(a.Err, &exit):
			got.Exit = exit.Exit
		case errors.Is(a.Err, fs.ErrNotExist):
			got.Missing = true
		case a.Err != nil:
			return nil, a.Err
		}
		r.seen[q.Key()] = got
	}
	return all, nil
}

func (a answer) engine(q engine.Ask) engine.Answer {
	got := engine.Answer{Result: engine.Result{Stdout: a.Stdout, Exit: a.Exit}, Data: a.Data, Files: a.Files}
	switch {
	case a.Missing:
		got.Err = &fs.PathError{Op: "read", Path: q.File(), Err: fs.ErrNotExist}
	case a.Exit != 0:
		got.Err = &engine.ExitError{Argv: q.Argv(), Exit: a.Exit, Stdout: a.Stdout}
	}
	return got
}

// A manyNode is a node that holds many cells. It answers questions and refuses
// everything else.
type manyNode struct {
	emptyNode
	nodeModel
	cells    int
	ids      []int         // of the containers of the first cell, ascending
	answered time.Duration // spent on making answers, which is not tg's time
}

func openModel(file string, cells int) (*manyNode, *engine.Facts, error) {
	n := &manyNode{emptyNode: emptyNode{"model"}, cells: cells}
	if err := readJSON(file, &n.nodeModel); err != nil {
		return nil, nil, err
	}
	for key, a := range n.Answers {
		if key == engine.AskGlob(confGlob).Key() {
			for name := range a.Files {
				n.ids = append(n.ids, confID(name))
			}
		}
	}
	if len(n.ids) == 0 {
		return nil, nil, fmt.Errorf("the model has no container; asked were %q", slices.Sorted(maps.Keys(n.Answers)))
	}
	slices.Sort(n.ids)
	return n, n.Facts, nil
}

const (
	confGlob  = "/etc/pve/nodes/*/lxc/*.conf"
	firstCell = "n00000" // begins the names of the first cell
)

var cellName = regexp.MustCompile(`n[0-9]{5}`)

func confID(name string) int {
	id, _ := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".conf")) // 0 for other files
	return id
}

// newID returns the id in a cell of what has that id in the first one.
func (n *manyNode) newID(cell, id int) int { return id + cell*len(n.ids) }

// Batch implements engine.Host. What is asked of a single thing is the same in
// every cell.
func (n *manyNode) Batch(_ context.Context, asks []engine.Ask) (*engine.Answers, error) {
	began := time.Now()
	defer func() { n.answered += time.Since(began) }()
	all := make(map[string]engine.Answer, len(asks))
	for _, q := range asks {
		key := q.Key()
		a, ok := n.Answers[cellName.ReplaceAllLiteralString(key, firstCell)]
		if !ok {
			return nil, fmt.Errorf("the model was never asked %q", q.String())
		}
		var err error
		switch {
		case q.Glob() != "":
			a.Files = n.files(a.Files)
		case q.File() == pve.VMListFile && !a.Missing:
			a.Data, err = n.vmlist(a.Data)
		case strings.HasPrefix(q.String(), "pvesh get /nodes/"):
			a.Stdout, err = n.guests(a.Stdout)
		case strings.HasPrefix(q.String(), "zfs list "):
			a.Stdout = n.lines(a.Stdout)
		}
		if err != nil {
			return nil, err
		}
		all[key] = a.engine(q)
	}
	return engine.NewAnswers(all), nil
}

// renamed returns what renames the first cell to another.
func (n *manyNode) renamed(cell int) *strings.Replacer {
	pairs := []string{firstCell, fmt.Sprintf("n%05d", cell)}
	for _, id := range n.ids {
		pairs = append(pairs, fmt.Sprintf("subvol-%d-", id), fmt.Sprintf("subvol-%d-", n.newID(cell, id)),
			fmt.Sprintf("\"vmid\"%%3A%d,", id), fmt.Sprintf("\"vmid\"%%3A%d,", n.newID(cell, id))) // the machine line, as a config encodes it
	}
	for net := 1; net <= 3; net++ {
		pairs = append(pairs, fmt.Sprintf("10.%d.0.1", net), fmt.Sprintf("10.%d.%d.%d", net, cell/250, cell%250+1))
	}
	return strings.NewReplacer(pairs...)
}

// files returns the files of all cells. Those of no cell stay as they are.
func (n *manyNode) files(first map[string][]byte) map[string][]byte {
	all := map[string][]byte{}
	for cell := range n.cells {
		renamed := n.renamed(cell)
		for name, data := range first {
			text := renamed.Replace(string(data))
			if id := confID(name); id > 0 {
				name = path.Join(path.Dir(name), fmt.Sprintf("%d.conf", n.newID(cell, id)))
			} else if strings.HasPrefix(path.Base(name), "ready.") {
				id, _ := strconv.Atoi(strings.TrimSpace(text)) // the mark of a container holds its id
				text = fmt.Sprintln(n.newID(cell, id))
			}
			all[renamed.Replace(name)] = []byte(text)
		}
	}
	return all
}

// lines repeats the lines that belong to a cell.
func (n *manyNode) lines(first []byte) []byte {
	var all, own bytes.Buffer
	for line := range bytes.Lines(first) {
		if bytes.Contains(line, []byte(firstCell)) || bytes.Contains(line, []byte("subvol-")) {
			own.Write(line)
		} else {
			all.Write(line)
		}
	}
	for cell := range n.cells {
		all.WriteString(n.renamed(cell).Replace(own.String()))
	}
	return all.Bytes()
}

// guests repeats the entries of a list of containers.
func (n *manyNode) guests(first []byte) ([]byte, error) {
	var list, all []map[string]any
	if err := json.Unmarshal(first, &list); err != nil {
		return nil, err
	}
	for cell := range n.cells {
		renamed := n.renamed(cell)
		for _, g := range list {
			id, err := strconv.Atoi(fmt.Sprint(g["vmid"]))
			if err != nil {
				return nil, fmt.Errorf("vmid is %v", g["vmid"])
			}
			again := maps.Clone(g)
			again["vmid"], again["name"] = n.newID(cell, id), renamed.Replace(fmt.Sprint(g["name"]))
			all = append(all, again)
		}
	}
	return json.Marshal(all)
}

// vmlist repeats the entries of a cluster's list of guests.
func (n *manyNode) vmlist(first []byte) ([]byte, error) {
	var list struct {
		Version int                       `json:"version"`
		IDs     map[string]map[string]any `json:"ids"`
	}
	if err := json.Unmarshal(first, &list); err != nil {
		return nil, err
	}
	all := list
	all.IDs = map[string]map[string]any{}
	for cell := range n.cells {
		for text, g := range list.IDs {
			id, err := strconv.Atoi(text)
			if err != nil {
				return nil, err
			}
			all.IDs[strconv.Itoa(n.newID(cell, id))] = g
		}
	}
	return json.Marshal(all)
}
