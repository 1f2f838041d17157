package sshhost

import (
	"bytes"
	"strings"
	"testing"
)

// TestStreamInAnyPieces feeds one stream in pieces of every size.
func TestStreamInAnyPieces(t *testing.T) {
	m := newMark()
	half := string(m[:len(m)/2])
	want := "\x00out" + half + "put\n" + m.start() + half
	all := "motd of .bashrc" + half + m.start() + want + m.end() + "said by a daemon"
	for size := 1; size <= len(all); size++ {
		var got bytes.Buffer
		s := newStream(m, &got)
		for rest := all; rest != ""; {
			n := min(size, len(rest))
			_, _ = s.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		if got.String() != want || !s.started || !s.ended() {
			t.Fatalf("pieces of %d: got %q, want %q", size, got.String(), want)
		}
	}
}

func TestStreamWithoutMarks(t *testing.T) {
	s := newStream(newMark(), nil)
	_, _ = s.Write([]byte("account disabled"))
	s.flush()
	if s.started || string(s.noise) != "account disabled" {
		t.Errorf("got started %t, noise %q", s.started, s.noise)
	}
}

func TestCapture(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"fits", "12345678", "12345678"},
		{"one too many", "123456789", "1234\n… 1 bytes left out …\n6789"},
		{"much too many", "1234" + strings.Repeat("x", 100) + "6789", "1234\n… 100 bytes left out …\n6789"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				got := capture{limit: 8}
				for rest := c.in; rest != ""; {
					n := min(size, len(rest))
					_, _ = got.Write([]byte(rest[:n]))
					rest = rest[n:]
				}
				if string(got.Bytes()) != c.want {
					t.Fatalf("pieces of %d: got %q, want %q", size, got.Bytes(), c.want)
				}
			}
		})
	}
}

func TestMarkIsNeverWholeInAScript(t *testing.T) {
	m := newMark()
	if strings.Contains(frame(m, true, "true", ""), string(m)) || strings.Contains(holdScript(m, "/run/lock/x"), string(m)) {
		t.Error("ps would show the mark")
	}
}
