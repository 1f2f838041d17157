package ui

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slow gives a kilobyte every second.
type slow struct{ left int }

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	time.Sleep(time.Second)
	return copy(p, make([]byte, 1024)), nil
}

func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		live bool
		want string
	}{
		{true, "\r\x1b[K  f  1.0K of 3.0K, 1.0K/s\r\x1b[K  f  2.0K of 3.0K, 1.0K/s\r\x1b[K  f  3.0K of 3.0K, 1.0K/s\r\x1b[K"},
		{false, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out strings.Builder
			m := (&Terminal{Out: &out, Width: 80, Height: 24, Live: tt.live}).Meter("f", 3<<10)
			if n, err := io.Copy(io.Discard, m.Reader(&slow{3})); n != 3<<10 || err != nil {
				t.Fatalf("%d bytes, %v", n, err)
			}
			m.End()
			m.add(1)
			if out.String() != tt.want {
				t.Errorf("live %v: drew %q, want %q", tt.live, out.String(), tt.want)
			}
		})
	}
}
