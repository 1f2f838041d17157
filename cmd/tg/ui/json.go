package ui

import "encoding/json"

// JSON writes v to Out for programs, indented and without escaping <, > and &, which only HTML needs.
func (t *Terminal) JSON(v any) error {
	enc := json.NewEncoder(t.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
