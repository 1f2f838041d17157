package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path"
)

// untar unpacks a tar file, plain or gzipped, into a directory of the lab's
// machine, which nothing in it can leave, and returns the bytes read.
func untar(data []byte, dir string) (int64, error) {
	var in io.Reader = bytes.NewReader(data)
	if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
		in = z
	}
	count := &countingReader{r: in}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	tr := tar.NewReader(count)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, count)
			return count.n, err
		}
		if err != nil {
			return count.n, err
		}
		if err := untarEntry(root, path.Clean(h.Name), h, tr); err != nil {
			return count.n, err
		}
	}
}

func untarEntry(root *os.Root, name string, h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeDir || h.Typeflag != tar.TypeReg {
		if h.Typeflag == tar.TypeDir && name != "." {
			return root.MkdirAll(name, 0o755)
		}
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	return root.WriteFile(name, data, 0o644)
}

// A countingReader counts what is read through it.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
