package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tengil/tengil/engine"
)

// maxInputFile is what a file that people write for tg may have in bytes: the
// configuration, option values, facts.
const maxInputFile = 4 << 20

// maxNesting is how deep brackets may nest in such a file.
const maxNesting = 100

// readInputFile returns the content of such a file, which must be text.
func readInputFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("%s is a directory; wanted a file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxInputFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInputFile {
		return nil, fmt.Errorf("%s is larger than %s", name, engine.Size(maxInputFile))
	}
	if err := checkText(data); err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return data, nil
}

// checkText refuses what is no text; the error begins with line and column.
func checkText(data []byte) error {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return errors.New("1:1: the file begins with a byte order mark; save it as UTF-8 without one")
	}
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' && !strings.ContainsRune("\t\n\r", r) {
			return fmt.Errorf("%s: wanted text in UTF-8, got the byte %#02x", position(data, i), data[i])
		}
		i += n
	}
	return nil
}

// position returns "line:column" of a byte.
func position(data []byte, at int) string {
	before := data[:max(0, min(at, len(data)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return fmt.Sprintf("%d:%d", 1+bytes.Count(before, []byte("\n")), 1+utf8.RuneCount(before[start:]))
}

var unknownField = regexp.MustCompile(`unknown field "(.*)"`)

// decodeInput reads one JSON value into to, and nothing else: a field that is not
// known or stands twice is a mistake. An error begins with line and column.
func decodeInput(data []byte, to any) error {
	if err := checkKeys(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	err := dec.Decode(to)
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		field := wrong.Field
		if field == "" {
			field = "the file"
		}
		return fmt.Errorf("%s: %s is a JSON %s; wanted %s", position(data, int(wrong.Offset)), field, wrong.Value, jsonName(wrong.Type))
	case err != nil:
		m := unknownField.FindStringSubmatch(err.Error())
		if m == nil {
			return fmt.Errorf("%s: %w", position(data, int(dec.InputOffset())), err)
		}
		known := jsonFields(reflect.TypeOf(to), nil)
		at := max(0, bytes.Index(data, []byte(`"`+m[1]+`"`)))
		return fmt.Errorf("%s: unknown field %q%s; there are %s", position(data, at), m[1], engine.DidYouMean(m[1], known), strings.Join(known, ", "))
	}
	return nil
}

// checkKeys looks for syntax errors, keys that stand twice, and text after the
// value, none of which package json complains about with a place.
func checkKeys(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	err := keysOf(dec, data, 0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			return fmt.Errorf("%s: there is something after the end of the JSON value", position(data, int(dec.InputOffset())))
		}
		return nil
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", position(data, int(syntax.Offset)-1), err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s: the file ends too early; wanted a whole JSON value", position(data, len(data)))
	}
	return err
}

// keysOf passes over one value.
func keysOf(dec *json.Decoder, data []byte, depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("%s: brackets nest deeper than %d", position(data, int(dec.InputOffset())), maxNesting)
	}
	t, err := dec.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		if open == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("%s: %q stands twice", position(data, int(dec.InputOffset())-len(name)-2), name)
			}
			seen[name] = true
		}
		if err := keysOf(dec, data, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// jsonFields returns the names of all fields of a type and of what is in it, sorted.
func jsonFields(t reflect.Type, names []string) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return jsonFields(t.Elem(), names)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.IsExported() && name != "-" && !f.Anonymous {
				if name == "" {
					name = f.Name
				}
				names = append(names, name)
			}
			if f.IsExported() && name != "-" {
				names = jsonFields(f.Type, names)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
