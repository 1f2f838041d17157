package sshhost

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeepAlive(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  int // pings that are answered before silence
		lostFrom time.Duration
		lostTo   time.Duration
	}{
		{"silence from the start", 0, 45 * time.Second, 60 * time.Second},
		{"silence after two answers", 2, 75 * time.Second, 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, pings, dead := time.Now(), 0, make(chan struct{})
				keepAlive(t.Context(), 15*time.Second, func() error {
					if pings++; pings <= c.answers {
						return nil
					}
					<-dead
					return errors.New("closed")
				}, func() { close(dead) })
				if took := time.Since(start); took < c.lostFrom || took > c.lostTo {
					t.Errorf("gave up after %s, want %s to %s", took, c.lostFrom, c.lostTo)
				}
			})
		})
	}
}

func TestKeepAliveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		keepAlive(ctx, 15*time.Second, func() error { return nil }, func() { t.Error("an answered connection was given up") })
	})
}
