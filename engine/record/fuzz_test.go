package record_test

import (
	"testing"

	"github.com/tengil/tengil/engine/record"
)

// Whatever lies in tengil's files on a node, it is read or refused; what is read
// names apps and units as tengil does.
func FuzzRecordFiles(f *testing.F) {
	f.Add(string(record.Record{App: "a"}.File().Data))
	f.Add(string(record.IntentFile("a", record.Intent{Step: "pct_create/db", VMID: 101, Unit: "tengil-a-create.db.service"}).Data))
	f.Add(record.Description("note", record.Identity{App: "a", Name: "db", VMID: 101}))
	f.Add("null")
	f.Fuzz(func(t *testing.T, text string) {
		file := record.Record{App: "a"}.File()
		file.Data = []byte(text)
		if r, err := record.Read(answers(record.PrivGlob("a"), file), "a"); err == nil && (r.Format < 1 || r.Format > record.Format) {
			t.Errorf("record %+v of %q", r, text)
		}
		intent := record.IntentFile("a", record.Intent{Step: "pct_create/db"})
		intent.Data = []byte(text)
		got, err := record.Intents(answers(record.PrivGlob("a"), intent), "a")
		if err == nil {
			for step, i := range got {
				if step == "" || i.VMID < 100 || i.Unit == "" {
					t.Errorf("intent %+v of %q", i, text)
				}
			}
		}
		if id, ok, err := record.ParseDescription(text); ok && err == nil && (id.App == "" || id.Name == "" || id.Format > record.Format) {
			t.Errorf("identity %+v of %q", id, text)
		}
	})
}
