package pve

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tengil/tengil/engine"
)

// Captured: ZFS 2.3.9, 2026-11-23.
func TestParseZFSList(t *testing.T) {
	out := "tank\t466944\t/tank\tyes\t-\ntank/a\t98304\t/tank/a\tyes\tweb\ntank/with blank\t98304\tnone\tno\t-\n"
	got, err := ParseZFSList([]byte(out), []string{"name", "used", "mountpoint", "mounted", "tengil:app"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{
		"tank":            {"name": "tank", "used": "466944", "mountpoint": "/tank", "mounted": "yes"},
		"tank/a":          {"name": "tank/a", "used": "98304", "mountpoint": "/tank/a", "mounted": "yes", "tengil:app": "web"},
		"tank/with blank": {"name": "tank/with blank", "used": "98304", "mountpoint": "none", "mounted": "no"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ParseZFSList([]byte("tank\t1\textra\n"), []string{"name", "used"}); err == nil {
		t.Error("a line with too many fields passes")
	}
	if _, err := ParseZFSList(nil, []string{"used"}); err == nil {
		t.Error("columns without name pass")
	}
}

// Captured: ZFS 2.3.9, 2026-11-23.
func TestParseZFSGet(t *testing.T) {
	got, err := ParseZFSGet([]byte("cell:note\ttwo words\tlocal\ncell:none\t-\t-\natime\toff\tinherited from tank\nmounted\tyes\t-\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ZFSProperty{
		"cell:note": {"two words", "local"}, "cell:none": {"-", "-"}, "atime": {"off", "inherited from tank"}, "mounted": {"yes", "-"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !got["cell:note"].Local() || got["atime"].Local() {
		t.Error("Local does not follow the source")
	}
	if _, err := ParseZFSGet([]byte("cell:nl\ta\nb\n")); err == nil {
		t.Error("a line without source passes")
	}
}

func TestCheckDataset(t *testing.T) {
	for _, good := range []string{"tank", "tank/a/b-c_d.e:f", "rpool/data", "tank/with blank", "tank/1"} {
		if err := CheckDataset(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "/tank", "tank/", "tank//a", "-tank", "tank/-a", "tank/../x", "tank/a@s", "tank/a#b", "tank/ä", "tank/a\n", "1tank", "tank/ a", "tank/" + strings.Repeat("x", 260)} {
		if CheckDataset(bad) == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]engine.Size{
		"16642998272": 16642998272, "8G": 8 * engine.GiB, "1.5T": 1536 * engine.GiB, "512KiB": 512 * engine.KiB, "128k": 128 * engine.KiB, "none": 0, "-": 0, "": 0, "0": 0,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q is %d, %v, want %d", in, got, err, want)
		}
	}
	for _, bad := range []string{"x", "G", "-1", "1P", "99999999999T", "NaN", "Inf", "1e30", "B"} {
		if got, err := ParseSize(bad); err == nil {
			t.Errorf("%q is taken as %d", bad, got)
		}
	}
}

func FuzzZFSList(f *testing.F) {
	f.Add("tank\t1\t-\ntank/a\t2\tx\n")
	f.Add("\t\t\n")
	f.Fuzz(func(t *testing.T, out string) {
		cols := []string{"name", "used", "tengil:app"}
		all, err := ParseZFSList([]byte(out), cols)
		if err != nil {
			return
		}
		var b strings.Builder
		for name, props := range all {
			b.WriteString(name)
			for _, c := range cols[1:] {
				v, ok := props[c]
				if !ok {
					v = "-"
				}
				b.WriteString("\t" + v)
			}
			b.WriteString("\n")
		}
		again, err := ParseZFSList([]byte(b.String()), cols)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(all, again); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
		_, _ = ParseZFSGet([]byte(out))
		_, _ = ParseSize(out)
		_ = CheckDataset(out)
	})
}
