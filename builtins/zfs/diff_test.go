package zfs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
)

// listing returns the answer to the list of all datasets, each given as
// "name k=v …"; what is not given is unset.
func listing(datasets ...string) map[string]engine.Answer {
	var b strings.Builder
	for _, d := range datasets {
		f := strings.Fields(d)
		props := map[string]string{"name": f[0], "mountpoint": "/" + f[0], "mounted": "yes", "used": "98304", "quota": "0", "recordsize": "131072"}
		for _, kv := range f[1:] {
			k, v, _ := strings.Cut(kv, "=")
			props[k] = v
		}
		for i, c := range columns() {
			if i > 0 {
				b.WriteByte('\t')
			}
			if v, ok := props[c]; ok {
				b.WriteString(v)
			} else {
				b.WriteByte('-')
			}
		}
		b.WriteByte('\n')
	}
	return map[string]engine.Answer{ListAsk().Key(): {Result: engine.Result{Stdout: []byte(b.String())}}}
}

func diffOf(t *testing.T, d dataset, answers map[string]engine.Answer) (engine.Diff, error) {
	t.Helper()
	st, err := d.Observe(engine.NewAnswers(answers))
	if err != nil {
		t.Fatal(err)
	}
	return d.Diff(st, engine.Inputs{})
}

func testDataset() dataset {
	return dataset{app: "app", id: "zfs_dataset/tank/a/b", name: "tank/a/b"}
}

const mine = "tank/a/b tengil:app=app tengil:step=zfs_dataset/tank/a/b tengil:protect=off"

func TestDiff(t *testing.T) {
	adopt, quota, media := testDataset(), testDataset(), testDataset()
	adopt.adopt = true
	quota.props = []property{{"quota", "1073741824", "the recipe sets it"}}
	media.props = []property{{"recordsize", "1M", "large"}}
	for _, tt := range []struct {
		name string
		d    dataset
		have []string
		want []string // action, field, from, to
	}{
		{"a missing one is made", testDataset(), []string{"tank", "tank/a"}, []string{`create "" -> ""`}},
		{"one as wanted is left alone", testDataset(), []string{"tank", mine}, nil},
		{"a property that differs is set", media, []string{"tank", mine}, []string{`update recordsize "128K" -> "1M"`}},
		{"a property that is equal in another notation is left alone", media, []string{"tank", mine + " recordsize=1048576"}, nil},
		{"a quota is raised", quota, []string{"tank", mine + " quota=1048576"}, []string{`update quota "1M" -> "1G"`}},
		{"one that is not mounted is mounted", testDataset(), []string{"tank", mine + " mounted=no"}, []string{`update mounted "no" -> "yes"`}},
		{"somebody's dataset is not touched", testDataset(), []string{"tank", "tank/a/b"}, []string{`adopt-refused "dataset tank/a/b (96.0K used)" -> ""`}},
		{"the mark of a parent does not make a child ours", testDataset(), []string{"tank", "tank/a/b tengil:app=app tengil:step=zfs_dataset/tank/a"},
			[]string{`adopt-refused "dataset tank/a/b (96.0K used)" -> ""`}},
		{"another app's dataset is refused", adopt, []string{"tank", "tank/a/b tengil:app=other tengil:step=zfs_dataset/tank/a/b"},
			[]string{`adopt-refused "dataset of app other" -> ""`}},
		{"adopting is a change", adopt, []string{"tank", "tank/a/b"}, []string{`update owner app "none" -> "app"`}},
		{"a parent made on the way becomes a step", testDataset(), []string{"tank", "tank/a/b tengil:app=app tengil:step=parent/tank/a/b"},
			[]string{`update owner app "none" -> "app"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := diffOf(t, tt.d, listing(tt.have...))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range d.Changes {
				got = append(got, strings.ReplaceAll(string(c.Action)+" "+c.Field+` "`+c.From+`" -> "`+c.To+`"`, "  ", " "))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQuotaBelowUseIsRefused(t *testing.T) {
	d := testDataset()
	d.props = []property{{"quota", "1024", "the recipe sets it"}}
	_, err := diffOf(t, d, listing("tank", mine))
	if err == nil || !strings.Contains(err.Error(), "quota is 1K, but tank/a/b already holds 96.0K") {
		t.Errorf("wanted an error that tells both sizes, got %v", err)
	}
}

func TestEmptyNodeIsPlannedFor(t *testing.T) {
	d, err := diffOf(t, testDataset(), map[string]engine.Answer{ListAsk().Key(): engine.NothingThere(ListAsk())})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Outputs["mountpoint"].String(); got != "/tank/a/b" {
		t.Errorf("mountpoint: wanted the name's, got %q", got)
	}
}

func TestListTellsNothingFromNotKnown(t *testing.T) {
	for _, tt := range []struct {
		name   string
		exit   int
		stderr string
		known  bool
	}{
		{"an error of zfs is no empty node", 1, "internal error: out of memory\n", false},
		{"nor is a failure without words", 1, "", false},
		{"without the program there are no datasets", 127, "zfs: command not found\n", true},
		{"without the kernel module there are none", 1, "The ZFS modules are not loaded.\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := ListAsk()
			answers := map[string]engine.Answer{q.Key(): {Err: &engine.ExitError{Argv: q.Argv(), Exit: tt.exit, Stderr: []byte(tt.stderr)}}}
			all, err := List(engine.NewAnswers(answers))
			if (err == nil) != tt.known || len(all) > 0 {
				t.Errorf("known: want %v and no dataset, got %v, %v", tt.known, all, err)
			}
		})
	}
}

func TestStrangersDatasetIsRefusedAtTheLastMoment(t *testing.T) {
	w := engine.Work{Now: &state{exists: true}, Todo: []engine.Change{{Action: engine.AdoptRefused, Why: "somebody made it", Hint: "adopt"}}}
	_, err := testDataset().Apply(t.Context(), w)
	if err == nil || engine.HintOf(err) != "adopt" {
		t.Errorf("want the refusal with its hint, got %v", err)
	}
}
