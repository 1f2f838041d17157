package engine

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
)

// processKey makes seals that mean something in this process only.
var processKey = sync.OnceValue(NewSealKey)

// passing begins such a seal.
const passing = "process:"

// NewSealKey returns a key for Seal, long enough that nobody finds it by trying.
func NewSealKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails
	return key
}

// Seal returns what stands for values that are not shown: the same for the same key
// and the same values. Who lacks the key cannot find a value by trying, however
// short it is. With no key the seal means something in this process only.
func Seal(key []byte, values ...string) string {
	prefix := ""
	if len(key) == 0 {
		key, prefix = processKey(), passing
	}
	h := hmac.New(sha256.New, key)
	for _, v := range values {
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return prefix + hex.EncodeToString(h.Sum(nil))
}

// Lasts reports whether a seal means something beyond this process.
func Lasts(seal string) bool { return !strings.HasPrefix(seal, passing) }
