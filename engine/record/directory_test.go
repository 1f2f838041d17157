package record_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/record"
)

func TestDirectoriesAreThoseOfTheNode(t *testing.T) {
	mine := record.Directory{Format: record.Format, App: "immich", Step: "zfs_dataset/data/photos", Node: "pve1", Path: "/srv/data/photos", Mount: "/", Stage: record.DirMade, Protect: true}
	other := mine
	other.Node = "pve2"
	got, err := record.Directories(answers(record.DirectoryGlob(), record.DirectoryFile(mine), record.DirectoryFile(other)), "pve1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record.Directory{mine}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMarksOfDirectoriesThatMakeNoSenseAreRefused(t *testing.T) {
	name := record.DirectoryPath("a", "pve1", "/srv/data/x")
	for _, c := range []struct{ text, want string }{
		{"{", name},
		{`{"format": 99, "node": "pve1", "path": "/srv/data/x"}`, "format 99; this tg knows up to 1"},
		{`{"format": 1, "node": "pve1", "path": "/etc"}`, "wanted the one that its name says"},
		{`{"format": 1, "node": "pve1", "path": "/srv/../x"}`, "wanted the one that its name says"},
		{`{"format": 1, "node": "pve1", "path": "x"}`, "wanted the one that its name says"},
	} {
		_, err := record.Directories(answers(record.DirectoryGlob(), engine.File{Name: name, Data: []byte(c.text)}), "pve1")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v", c.text, err)
		}
	}
}
