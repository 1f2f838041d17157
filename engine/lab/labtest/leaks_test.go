package labtest

import (
	"os"
	"strings"
	"testing"
)

// tests are what Main runs.
type tests func() int

func (t tests) Run() int { return t() }

// The tests of a package that leave something fail as a whole.
func TestMainFindsWhatIsLeft(t *testing.T) {
	patience = 5
	defer func() { patience = 500 }()
	end := make(chan struct{})
	was := os.TempDir()
	for _, c := range []struct {
		name string
		run  tests
		want int
	}{
		{"nothing", func() int { return 0 }, 0},
		{"nothing, but a test failed", func() int { return 2 }, 2},
		{"a file", func() int {
			f, err := os.CreateTemp("", "left-")
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			return 0
		}, 1},
		{"a file that is removed", func() int {
			f, err := os.CreateTemp("", "left-")
			if err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			_ = os.Remove(f.Name())
			return 0
		}, 0},
		{"a goroutine that ends", func() int { go func() {}(); return 0 }, 0},
		{"a goroutine", func() int { go func() { <-end }(); return 0 }, 1}, // last: it stays
	} {
		if got := Main(c.run); got != c.want {
			t.Errorf("%s is left: exit status %d, want %d", c.name, got, c.want)
		}
		if os.TempDir() != was {
			t.Errorf("%s is left: temporary files go to %s, went to %s", c.name, os.TempDir(), was)
		}
	}
	close(end)
}

// A fakeT takes note of failures.
type fakeT struct {
	testing.TB
	failed bool
}

func (f *fakeT) Helper()               {}
func (f *fakeT) Errorf(string, ...any) { f.failed = true }

type sessions int

func (s sessions) Sessions() int { return int(s) }

func TestUnusedFindsOpenSessions(t *testing.T) {
	patience = 5
	defer func() { patience = 500 }()
	for open, want := range map[sessions]bool{0: false, 1: true} {
		f := &fakeT{}
		if Unused(f, open); f.failed != want {
			t.Errorf("%d sessions: failed is %t, want %t", open, f.failed, want)
		}
	}
}

func TestGoroutinesAreToldWithTheirStack(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	began := make(chan struct{})
	go func() { close(began); <-end }()
	<-began
	if all := strings.Join(goroutines(), "\n"); !strings.Contains(all, t.Name()) {
		t.Errorf("it is not among\n%s", all)
	}
}
