package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
)

func (s *skopeoRun) copy() error {
	from, err := parseImageName(s.args[0])
	if err != nil {
		return saidf("Invalid source name %s: %w", s.args[0], err)
	}
	to, err := s.parseDestination(s.args[1])
	if err != nil {
		return saidf("Invalid destination name %s: %w", s.args[1], err)
	}
	if to.transport == "docker" || s.flags["all"] == "true" || s.flags["multi-arch"] != "" {
		return errors.New("lab: skopeo copies one image into an archive or a layout, nothing else")
	}
	src, err := s.source(from, "src-")
	if err != nil {
		return fmt.Errorf("initializing source %s: %w", from.shown(), err)
	}
	img, err := s.choose(src)
	var none *choiceError
	if errors.As(err, &none) {
		return fmt.Errorf("choosing an image from manifest list %s: %w", from.shown(), none.error)
	}
	if err != nil {
		return err
	}
	if img, err = img.toOCI(); err != nil {
		return err
	}
	if err := s.write(img, to); err != nil {
		return err
	}
	if name := s.flags["digestfile"]; name != "" {
		return s.node.writeFile(s.abs(name), []byte(img.raw.digest()), 0o644)
	}
	return nil
}

// parseDestination parses a name that is written to; its directory must exist.
func (s *skopeoRun) parseDestination(given string) (imageName, error) {
	n, err := parseImageName(given)
	if err != nil || n.transport == "docker" {
		return n, err
	}
	dir := path.Dir(s.abs(n.path))
	if _, err := s.node.stat(dir); err != nil {
		return n, fmt.Errorf("lstat %s: no such file or directory", dir)
	}
	return n, nil
}

// write copies the image to its destination. An archive is put together below
// /var/tmp first, so that it needs its size there too.
func (s *skopeoRun) write(img *image, to imageName) error {
	if to.transport == "oci" {
		l := s.node.layoutAt(s.abs(to.path))
		if shared := s.flags["dest-shared-blob-dir"]; shared != "" {
			l.blobs = s.abs(shared)
		}
		return s.fill(l, img, to.image, s.checkpoint)
	}
	stage := s.node.layoutAt(s.tempName("oci"))
	err := s.fill(stage, img, to.image, func() error { return nil })
	if err == nil {
		err = stage.writeTar(s.abs(to.path), s.checkpoint)
	}
	var ended *endedError
	if errors.As(err, &ended) {
		return err // killed: what it has staged stays
	}
	return errors.Join(err, s.node.removeAll(stage.path))
}

// fill copies the image into a layout. step is called half way.
func (s *skopeoRun) fill(l layoutDir, img *image, name string, step func() error) error {
	s.say("Getting image source signatures")
	done := map[string]bool{}
	for i, d := range img.manifest.Layers {
		if i == len(img.manifest.Layers)/2 {
			if err := step(); err != nil {
				return err
			}
		}
		if done[d.Digest] {
			continue
		}
		done[d.Digest] = true
		s.say("Copying blob %s", d.Digest)
		if err := s.copyLayer(l, img, d.Digest); err != nil {
			return err
		}
	}
	s.say("Copying config %s", img.Config.Digest)
	if err := l.putData(img.configBlob); err != nil {
		return err
	}
	s.say("Writing manifest to image destination")
	if err := l.putData(img.raw.data); err != nil {
		return err
	}
	d := descriptor{MediaType: mediaOCIManifest, Digest: img.raw.digest(), Size: int64(len(img.raw.data))}
	if name != "" {
		d.Annotations = map[string]string{refName: name}
	}
	return l.name(d)
}

func (s *skopeoRun) copyLayer(l layoutDir, img *image, digest string) error {
	if l.has(digest) {
		return nil
	}
	r, err := img.src.blob(s.ctx, digest)
	if err != nil {
		return fmt.Errorf("reading blob %s: %w", digest, err)
	}
	defer r.Close()
	err = l.putBlob(s.ctx, digest, r)
	var mismatch *digestError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("writing blob: happened during read: %w", mismatch)
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("writing blob: %w", err)
	}
	return readingBlob(err)
}

// readingBlob words the end of a connection in the middle of a blob; it is
// inferred from that of a wrong digest.
func readingBlob(err error) error {
	var broken *net.OpError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &broken) {
		return fmt.Errorf("writing blob: happened during read: %w", err)
	}
	return err
}

// say prints a line of progress.
func (s *skopeoRun) say(format string, a ...any) {
	if s.flags["quiet"] != "true" {
		fmt.Fprintf(s.stdout, format+"\n", a...)
	}
}

// A digestError says that a blob is not what its digest says.
type digestError struct{ want, got string }

func (e *digestError) Error() string {
	return fmt.Sprintf("Digest did not match, expected %s, got %s", e.want, e.got)
}

// copyBlob copies a blob and checks its digest at the end. It ends early when
// ctx does.
func copyBlob(ctx context.Context, to io.Writer, from io.Reader, digest string) error {
	h := sha256.New()
	if _, err := pour(io.MultiWriter(to, h), &ctxReader{ctx, from}); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return &digestError{digest, got}
	}
	return nil
}

// A ctxReader ends with its context, as a program does that is killed.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, &endedError{exitKilled}
	}
	return c.r.Read(p)
}
