package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/tengil/tengil/engine"
	"github.com/tengil/tengil/engine/pve"
	"github.com/tengil/tengil/engine/record"
)

// facts are what the node keeps of one image, in record.ImageFile.
type facts struct {
	Format  int             `json:"format"`
	Ref     string          `json:"ref"`
	Arch    string          `json:"arch,omitempty"`   // if it is not the node's
	Digest  string          `json:"digest,omitempty"` // of the manifest, in the registry
	Config  json.RawMessage `json:"config,omitempty"`
	Archive string          `json:"archive,omitempty"` // volume id
	Path    string          `json:"path,omitempty"`
	Size    int64           `json:"size,omitempty"`
	Blobs   []blob          `json:"blobs,omitempty"` // what the image is made of, in the store
	// Partial is a file that a pull which has not ended writes to.
	Partial string `json:"partial,omitempty"`
}

// A state is what is there and, where that was asked, what the registry has.
type state struct {
	facts   facts // of an earlier pull; zero without
	present bool  // the archive that facts tell of is there, or all that it is made of
	asked   bool  // the registry was asked
	digest  string
	config  json.RawMessage
	size    int64 // of the layers as the registry has them; 0 where it told of an index only
}

func (p pull) factsFile() string { return record.ImageFile(p.key) }

func (p pull) Asks(known *engine.Answers) []engine.Ask {
	asks := []engine.Ask{engine.AskFile(p.factsFile())}
	if known == nil {
		if p.always {
			// Whatever the facts tell, somebody is asked: the first place at once, so
			// that a second one does not cost a run that has nothing to do a round.
			asks = append(asks, p.registryAsks(p.places()[0])...)
		}
		return asks
	}
	f, err := p.readFacts(known)
	switch {
	case err != nil:
		return nil // Observe tells
	case f.Path != "" && !p.always:
		return append(asks, f.presenceAsks()...)
	case f.Path != "":
		asks = append(asks, f.presenceAsks()...)
	}
	for _, at := range p.places() {
		asks = append(asks, p.registryAsks(at)...)
		// The registry itself is asked only once its mirror did not know.
		if _, err := p.registryAnswer(known, at); err == nil || !known.Has(p.inspectAsk("--raw", at)) {
			break
		}
	}
	return asks
}

func (p pull) registryAsks(at Reference) []engine.Ask {
	return []engine.Ask{p.inspectAsk("--raw", at), p.inspectAsk("--config", at)}
}

func statAsk(name string) engine.Ask { return engine.AskRun("stat", "-c", "%s", name) }

func (p pull) inspectAsk(what string, at Reference) engine.Ask {
	return engine.AskRun(p.inspect(what, at.source())...)
}

// answerTime is how long a registry may take to answer. One that accepts a connection
// and says nothing must not hold up a plan, nor the registry behind a mirror.
const answerTime = "60s"

// inspect returns the command that prints a manifest (--raw) or config
// (--config) of a source. A manifest comes byte for byte, so that its digest can
// be computed.
func (p pull) inspect(what, source string) []string {
	argv := []string{"skopeo", "inspect"}
	if p.foreign && what != "--raw" {
		argv = append(argv, "--override-arch", p.arch)
	}
	return append(argv, what, source, "--command-timeout", answerTime)
}

func (p pull) Observe(a *engine.Answers) (engine.State, error) {
	st := &state{}
	var err error
	if st.facts, err = p.readFacts(a); err != nil {
		return nil, err
	}
	if st.facts.Path != "" {
		if st.present, err = p.isPresent(a, st.facts); err != nil {
			return nil, err
		}
	}
	for _, at := range p.places() {
		if !a.Has(p.inspectAsk("--raw", at)) {
			break
		}
		var r registryImage
		if r, err = p.registryAnswer(a, at); err == nil {
			st.asked, st.digest, st.config, st.size = r.config != nil, r.digest, r.config, r.size
			break
		}
	}
	return st, err
}

// readFacts returns zero facts where there are none.
func (p pull) readFacts(a *engine.Answers) (facts, error) {
	data, err := a.File(p.factsFile())
	if errors.Is(err, fs.ErrNotExist) {
		return facts{}, nil
	}
	if err != nil {
		return facts{}, err
	}
	return parseFacts(p.factsFile(), data)
}

func parseFacts(name string, data []byte) (facts, error) {
	var f facts
	if err := json.Unmarshal(data, &f); err != nil {
		return f, engine.WithHint(fmt.Errorf("%s: %w", name, err), "remove the file; the image is then pulled again")
	}
	if f.Digest != "" {
		err := pve.CheckDigest(f.Digest)
		if _, bad := pve.ParseVolID(f.Archive); err == nil {
			err = bad
		}
		if err == nil && (!path.IsAbs(f.Path) || f.Size < 0) {
			err = fmt.Errorf("path is %q and size %d; wanted those of an archive", f.Path, f.Size)
		}
		for _, b := range f.Blobs {
			err = errors.Join(err, pve.CheckDigest(b.Digest))
		}
		if err != nil {
			return f, engine.WithHint(fmt.Errorf("%s: %w", name, err), "remove the file; the image is then pulled again")
		}
	}
	if f.Format < 1 {
		return f, engine.WithHint(fmt.Errorf("%s: wanted facts of an image, got %.80q", name, data), "remove the file; the image is then pulled again")
	}
	if f.Format > record.Format {
		return f, engine.WithHint(fmt.Errorf("%s has format %d; this tg knows up to %d", name, f.Format, record.Format),
			"a newer tg wrote it; update this one")
	}
	return f, nil
}

func (f facts) presenceAsks() []engine.Ask {
	asks := []engine.Ask{statAsk(f.Path)}
	if len(f.Blobs) > 0 {
		asks = append(asks, f.blobsAsk())
	}
	return asks
}

func (f facts) blobsAsk() engine.Ask {
	return sizesAsk(f.Blobs, func(b blob) string { return b.Digest })
}

// isPresent reports whether the archive is there with the size it was written with,
// or the store has all that it was made of.
func (p pull) isPresent(a *engine.Answers, f facts) (bool, error) {
	ans := a.Get(statAsk(f.Path))
	var exit *engine.ExitError
	switch {
	case errors.As(ans.Err, &exit): // stat fails for no other reason than a missing file or directory
	case ans.Err != nil:
		return false, ans.Err
	default:
		if size, err := pve.ParseFileSize(statAsk(f.Path).Argv(), ans.Result.Stdout); err != nil || size == f.Size {
			return err == nil, err
		}
		return false, nil
	}
	if len(f.Blobs) == 0 {
		return false, nil
	}
	have, err := sizesIn(a.Get(f.blobsAsk()), f.blobsAsk().Argv())
	for _, b := range f.Blobs {
		if size, there := have[blobFile(b.Digest)]; !there || size != b.Size {
			return false, err
		}
	}
	return true, err
}

// A registryImage is what a registry says of the image; zero where nobody was
// there to ask.
type registryImage struct {
	size   int64 // of the layers; 0 of an index
	digest string
	config json.RawMessage
}

// registryAnswer reads what the registry of one place answered.
func (p pull) registryAnswer(a *engine.Answers, at Reference) (r registryImage, err error) {
	raw, err := answer(a.Get(p.inspectAsk("--raw", at)))
	if err != nil || raw == nil {
		return r, explain(err, at)
	}
	if r.digest, err = p.platformDigest(raw); err != nil {
		return r, p.strange("--raw", at.source(), noManifest(at, at.source(), raw, err))
	}
	if m, err := pve.ParseManifest(raw); err == nil {
		r.size = m.Size()
	}
	config, err := answer(a.Get(p.inspectAsk("--config", at)))
	if err != nil {
		return r, explain(err, at)
	}
	if r.config, err = compact(config); err == nil {
		_, err = pve.ParseImageConfig(r.config)
	}
	if err != nil {
		return r, p.strange("--config", at.source(), err)
	}
	return r, nil
}

// A badAnswer is what a registry, or what stands before it, sends in place of a manifest.
type badAnswer struct {
	text string
	err  error
}

func (b *badAnswer) Error() string { return b.text }
func (b *badAnswer) Unwrap() error { return b.err }

// noManifest says of an answer that is not even JSON what it is, and returns other
// errors as they are. got is what came; nil where only skopeo saw it.
func noManifest(at Reference, source string, got []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, pve.ErrManifest) {
		return err
	}
	what := "something that skopeo cannot read"
	switch {
	case got != nil && syntax != nil && syntax.Offset >= int64(len(got)):
		what = fmt.Sprintf("%d bytes that break off in the middle", len(got))
	case got != nil:
		what = fmt.Sprintf("%d bytes that begin with %.60q", len(got), got)
	}
	return engine.WithHint(&badAnswer{fmt.Sprintf("%s sent no manifest for %s: wanted JSON, got %s", at.Registry, at, what), err},
		"the registry is out of order, or a proxy or a login page between it and the node has answered; nothing of it was kept. See what comes, on the node:\n    skopeo inspect --raw "+source+"\nand run it again")
}

// strange names the command whose answer err says something of.
func (p pull) strange(what, source string, err error) error {
	var bad *badAnswer
	if errors.As(err, &bad) {
		return err
	}
	hint := engine.HintOf(err)
	if hint == "" {
		hint = otherImage
	}
	return engine.WithHint(fmt.Errorf("%s: %w", strings.Join(p.inspect(what, source), " "), err), hint)
}

// answer returns what skopeo printed; nil where nobody was there to answer (engine.NothingThere).
func answer(a engine.Answer) ([]byte, error) {
	switch {
	case errors.Is(a.Err, engine.ErrNobody):
		return nil, nil
	case a.Err != nil:
		return nil, pve.Explain(a.Err)
	}
	return a.Result.Stdout, limit(a.Result.Stdout)
}

func limit(out []byte) error {
	if len(out) > pve.MaxManifest {
		return engine.WithHint(fmt.Errorf("skopeo inspect: registry answered with %d bytes; wanted at most %d", len(out), pve.MaxManifest), otherImage)
	}
	return nil
}

// pulledOther is what to do about a registry that sends something else.
const pulledOther = "the registry, or a proxy before it, sent something else than it said; nothing of it was kept. Run again; if it ends here again, use another tag or registry"

// explain adds what a reader can do about what the registry of at answered.
func explain(err error, at Reference) error {
	switch {
	case errors.Is(err, pve.ErrNotFound):
		return engine.WithHint(err, "the registry has no "+at.String()+"; to see its tags:\n    skopeo list-tags docker://"+at.name())
	case errors.Is(err, pve.ErrManifest):
		return noManifest(at, at.source(), nil, err)
	case errors.Is(err, pve.ErrNoBlob):
		return engine.WithHint(err, "the registry has lost a part of "+at.String()+"; use another tag, or have it pushed again")
	case errors.Is(err, pve.ErrDigest):
		return engine.WithHint(err, pulledOther)
	case errors.Is(err, pve.ErrDenied):
		return engine.WithHint(err, "a private image needs a password on the node, once:\n    tg oci login "+at.Registry+" --username NAME")
	}
	return err
}

// platformDigest returns the digest of the manifest for the wanted platform out
// of what the registry answered for the reference.
func (p pull) platformDigest(raw []byte) (string, error) {
	got := pve.Digest(raw)
	if p.ref.Digest != "" && got != p.ref.Digest {
		return "", fmt.Errorf("%w: manifest %s; wanted %s", pve.ErrDigest, got, p.ref.Digest)
	}
	m, err := pve.ParseManifest(raw)
	if err != nil {
		return "", err
	}
	if !m.IsIndex() {
		return got, nil
	}
	entry, err := m.Pick(p.arch)
	return entry.Digest, err
}

// compact checks that data is JSON and drops its blanks.
func compact(data []byte) (json.RawMessage, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	return b.Bytes(), nil
}
