package lab

import (
	"fmt"
	"strings"
)

// faultWords are the words for the constants of a Fault, in their order.
var (
	subjectWords = []string{"program", "request", "read", "write"}
	whenWords    = []string{"before", "during", "after"}
	effectWords  = []string{"fail", "cut", "hang", "kill", "pause", "truncate", "replace", "meddle"}
)

// SubjectWords returns the words for the subjects.
func SubjectWords() []string { return subjectWords }

// WhenWords returns the words for the moments.
func WhenWords() []string { return whenWords }

// EffectWords returns the words for the effects.
func EffectWords() []string { return effectWords }

func (s Subject) String() string { return wordOf(subjectWords, int(s)) }
func (w When) String() string    { return wordOf(whenWords, int(w)) }
func (e Effect) String() string  { return wordOf(effectWords, int(e)) }

func wordOf(words []string, i int) string {
	if i < 0 || i >= len(words) {
		return fmt.Sprint(i)
	}
	return words[i]
}

// MarshalText writes the word.
func (s Subject) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText writes the word.
func (w When) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// MarshalText writes the word.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a word.
func (s *Subject) UnmarshalText(b []byte) error { return readWord(s, subjectWords, b) }

// UnmarshalText reads a word.
func (w *When) UnmarshalText(b []byte) error { return readWord(w, whenWords, b) }

// UnmarshalText reads a word.
func (e *Effect) UnmarshalText(b []byte) error { return readWord(e, effectWords, b) }

func readWord[T ~int](to *T, words []string, b []byte) error {
	for i, w := range words {
		if w == string(b) {
			*to = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", b, strings.Join(words, ", "))
}

// String tells in one line what a fault is.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", f.Do)
	if f.For > 0 {
		fmt.Fprintf(&b, " (%s)", f.For)
	}
	if len(f.Argv) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(f.Argv, " "))
	}
	what := "any"
	if len(f.Prefix) > 0 {
		what = strings.Join(f.Prefix, " ")
	}
	fmt.Fprintf(&b, " %s %s %s", f.When, f.Of, what)
	if f.Nth > 1 {
		fmt.Fprintf(&b, ", match %d from now", f.Nth)
	}
	switch {
	case f.Times < 0:
		b.WriteString(", every time")
	case f.Times > 1:
		fmt.Fprintf(&b, ", %d times", f.Times)
	}
	return b.String()
}

// String tells in one line what a condition is.
func (c Condition) String() string {
	var b strings.Builder
	b.WriteString(string(c.Kind))
	if c.On != "" {
		b.WriteString(" " + c.On)
	}
	switch {
	case c.Kind == DiskFull:
		fmt.Fprintf(&b, ", %d bytes left", c.Free)
	case c.Kind == BadRegistry:
		b.WriteString(" " + string(c.Trouble))
	}
	if c.RetryAfter > 0 {
		fmt.Fprintf(&b, ", to be tried again after %s", c.RetryAfter)
	}
	if c.Rate > 0 {
		fmt.Fprintf(&b, ", %d bytes in a second", c.Rate)
	}
	return b.String()
}

// Check says what is wrong with a fault.
func (f Fault) Check() error {
	switch {
	case f.Nth < 0 || f.Times < Forever || f.For < 0 || f.Bytes < 0:
		return fmt.Errorf("a number is too small: nth %d, times %d, for %s, bytes %d", f.Nth, f.Times, f.For, f.Bytes)
	case f.Do == Pause && f.For == 0:
		return fmt.Errorf("pause needs to know for how long")
	case f.Do == Meddle && len(f.Argv) == 0:
		return fmt.Errorf("meddle needs to know what to run")
	case f.Do != Meddle && len(f.Argv) > 0:
		return fmt.Errorf("only meddle runs something, %s does not", f.Do)
	case f.When == During && f.Of != Programs:
		return fmt.Errorf("there is no during for a %s; wanted before or after", f.Of)
	case f.When == After && (f.Of == Reads || f.Of == Writes):
		return fmt.Errorf("a fault of a %s comes before it", f.Of)
	}
	return nil
}
