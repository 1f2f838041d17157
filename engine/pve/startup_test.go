package pve

import "testing"

func TestStartup(t *testing.T) {
	for in, want := range map[string]string{"order=2,up=5": "order=2,up=5", "3": "order=3", "down=9,order=0": "order=0,down=9", "": ""} {
		s, err := ParseStartup(in)
		if err != nil || s.String() != want {
			t.Errorf("%q is %q, %v, want %q", in, s, err, want)
		}
	}
	for _, bad := range []string{"x", "order=-1", "up=", "left=1"} {
		if s, err := ParseStartup(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, s)
		}
	}
}

func TestFeatures(t *testing.T) {
	f, err := ParseFeatures("nesting=1,mount=nfs;cifs,fuse=0,keyctl=yes")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.String(), "keyctl=1,mount=nfs;cifs,nesting=1"; got != want {
		t.Errorf("printed as %q, want %q", got, want)
	}
	if !f.Has("nesting") || f.Has("fuse") {
		t.Error("Has does not follow the text")
	}
	if _, err := ParseFeatures("nesting=maybe"); err == nil {
		t.Error("nesting=maybe passes")
	}
}
