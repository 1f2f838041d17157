package sshhost

import (
	"strings"
	"testing"

	"github.com/tengil/tengil/engine"
)

// Whatever comes back for a batch, every question gets an answer: what the node
// said, or an error.
func FuzzBatchReply(f *testing.F) {
	const m = "MARK"
	for _, s := range []string{
		"MARKn\na\x00b\x00MARKd\ncontentMARKk\n", "MARKm\n/etc/a\x00", "MARKr\n/etc/a\x00", "MARKg 0\nMARKn\ns\x00/srv/x\x00MARKd\nxMARKk\n",
		"MARKc\nMARKn\ns\x00/tmp/0.o\x00s\x00/tmp/0.e\x00s\x00/tmp/0.s\x00MARKd\noutMARKd\nMARKd\n0\nMARKk\n", "MARKx\nMARKo 1\n/etc/a\x00MARKd\nMARKd\nno\n",
		"MARKg 99\n", "MARKo x\n", "MARK", "",
	} {
		f.Add(s)
	}
	asks := []engine.Ask{engine.AskRun("true"), engine.AskFile("/etc/a"), engine.AskGlob("/srv/*")}
	f.Fuzz(func(t *testing.T, reply string) {
		got, err := newQuestions(asks).answers(mark(m), []byte(reply))
		if err != nil {
			return
		}
		for _, q := range asks {
			if !got.Has(q) {
				t.Errorf("no answer to %s out of %q", q, reply)
			}
		}
		if a := got.Get(asks[0]); a.Err == nil && a.Result.Exit != 0 {
			t.Errorf("status %d is no error out of %q", a.Result.Exit, reply)
		}
		if a := got.Get(asks[1]); a.Err == nil && !strings.Contains(reply, string(a.Data)) {
			t.Errorf("the file holds %q out of %q", a.Data, reply)
		}
	})
}
