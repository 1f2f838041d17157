package pve

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// capturedConfigs returns guest configs of real nodes, by name.
func capturedConfigs(t testing.TB) map[string][]byte {
	t.Helper()
	a, err := txtar.ParseFile("testdata/configs.txtar")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range a.Files {
		out[f.Name] = f.Data
	}
	if len(out) < 50 {
		t.Fatalf("configs.txtar holds %d configs, want more than 50", len(out))
	}
	return out
}

// captured reads a JSON file of testdata.
func captured[T any](t testing.TB, name string) []T {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		About string
		Cases []T
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) == 0 {
		t.Fatalf("%s holds no cases", name)
	}
	return file.Cases
}
