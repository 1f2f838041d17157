package lab

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
)

func TestAnOutboxKeepsOrderAndHoldsWritersBack(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	o := newOutbox(w, func() {})
	var want bytes.Buffer
	for i := range 3 * outboxSize / 100 {
		want.Write(bytes.Repeat([]byte{byte(i)}, 100))
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		for b := want.Bytes(); len(b) > 0; b = b[min(len(b), 700):] {
			if _, err := o.Write(b[:min(len(b), 700)]); err != nil {
				t.Error(err)
			}
		}
		o.wait()
		w.Close()
	})
	got, err := io.ReadAll(r)
	writing.Wait()
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes of %d came, or in another order (%v)", len(got), want.Len(), err)
	}
}

func TestAnOutboxTellsThatItsReaderIsGone(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	r, w := io.Pipe()
	r.CloseWithError(gone)
	o := newOutbox(w, func() {})
	if _, err := o.Write([]byte("first")); err != nil {
		t.Fatalf("the first write is on its way: %v", err)
	}
	o.wait()
	if _, err := o.Write([]byte("second")); !errors.Is(err, gone) {
		t.Errorf("the second write: %v, want %v", err, gone)
	}
	if _, err := o.Write(make([]byte, 2*outboxSize)); !errors.Is(err, gone) {
		t.Errorf("a large write: %v, want %v", err, gone)
	}
}
