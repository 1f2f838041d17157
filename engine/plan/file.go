package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tengil/tengil/engine"
)

// FileFormat is the version of the files that Encode writes.
const FileFormat = 1

// A File is a plan to be carried out later or from elsewhere: what it is for, all
// that it was made of, and the plan itself, to compare with. It holds no secret,
// as neither a recipe, nor an option, nor a plan does; what the plan hides it seals.
type File struct {
	Format int        `json:"tengil_plan"` // FileFormat; Encode sets it
	Tengil string     `json:"tg"`          // version of the program that made it
	Host   FileHost   `json:"host"`
	Recipe FileRecipe `json:"recipe"`
	// Options are the values of all options, those too that came from the node.
	Options map[string]string `json:"options"`
	Given   []string          `json:"given,omitempty"` // those of Options that the user gave, sorted
	Facts   *engine.Facts     `json:"facts"`           // what the recipe saw of the node
	Plan    json.RawMessage   `json:"plan"`            // as of JSON
	// Digest is "sha256:…" over all of the above. It shows damage and edits by
	// mistake; it keeps nobody from writing a file of his own.
	Digest string `json:"digest"`
}

// A FileHost is the host that a plan is for, and what its owner chose.
type FileHost struct {
	Name    string         `json:"name"`
	Address string         `json:"address"` // for where the name means nothing
	Choices engine.Choices `json:"choices,omitzero"`
}

// A FileRecipe is a recipe with all that it loads.
type FileRecipe struct {
	Source string            `json:"source"`        // as in engine.App
	Name   string            `json:"name"`          // which of Files is the recipe
	Dir    string            `json:"dir,omitempty"` // what positions put before the names
	Digest string            `json:"digest"`        // as in engine.App
	Files  map[string]string `json:"files"`
}

// Encode returns the file as it is written.
func Encode(f File) ([]byte, error) {
	f.Format = FileFormat
	var err error
	if f.Digest, err = f.digest(); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// digest is over the compact JSON, so that blanks between tokens do not count.
func (f File) digest() (string, error) {
	f.Digest = ""
	data, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// IsFile reports whether data is meant to be a plan file, whole or damaged.
// Everything that begins with { is: no recipe does.
func IsFile(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n\ufeff"), []byte("{"))
}

// ErrForeign says that a file is no plan file.
var ErrForeign = errors.New("it is no plan of tg plan --out")

// Decode reads what Encode wrote. A file that is damaged, changed, foreign or
// newer than this program is an error.
func Decode(data []byte) (*File, error) {
	var head struct {
		Format *int   `json:"tengil_plan"`
		Tengil string `json:"tg"`
	}
	err := json.Unmarshal(data, &head)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) && bytes.Contains(data[:min(len(data), 200)], []byte(`"tengil_plan"`)):
		return nil, fmt.Errorf("the plan is damaged or cut off after %d bytes: %w", len(data), err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	case head.Format == nil:
		return nil, ErrForeign
	case *head.Format > FileFormat:
		return nil, engine.WithHint(fmt.Errorf("the plan has format %d, of tg %s; this tg knows up to %d", *head.Format, head.Tengil, FileFormat),
			"a newer tg wrote it; update this one")
	case *head.Format < 1:
		return nil, fmt.Errorf("the plan has format %d; wanted %d", *head.Format, FileFormat)
	}
	var f File
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("the plan is damaged: %w", err)
	}
	got, err := f.digest()
	if err != nil {
		return nil, err
	}
	if got != f.Digest {
		return nil, errors.New("the plan was changed after tg wrote it: its digest does not fit")
	}
	if f.Facts == nil || f.Recipe.Name == "" {
		return nil, errors.New("the plan is damaged: it has no facts or no recipe")
	}
	return &f, nil
}
