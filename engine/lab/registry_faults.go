package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// troubled puts what is wrong with a registry, or with one repository of it, into
// its answers. ask gets the answer without it.
func troubled(all []Condition, host string, repo dockerRepo, req *http.Request, ask func() (*http.Response, error)) (*http.Response, error) {
	what := requested(req.URL.Path)
	for _, c := range all {
		if c.Kind != BadRegistry || c.On != host && (repo.path == "" || c.On != repo.String()) {
			continue
		}
		if c.Trouble == RedirectLoop && what.kind != "" {
			return redirect(req)
		}
		if status, ok := c.Trouble.status(); ok {
			// The server errors are those of the registry as a whole. A limit is
			// counted by the manifests that are asked for.
			if what.kind != "" || c.Trouble != Busy && c.On == host {
				return c.refuse(req, status)
			}
			continue
		}
		resp, err := ask()
		if err != nil || resp.StatusCode != http.StatusOK || req.Method != http.MethodGet {
			return resp, err
		}
		switch what.kind {
		case "blobs":
			return c.spoilBlob(req, resp)
		case "manifests":
			return c.spoilManifest(resp)
		}
		return resp, nil
	}
	return ask()
}

// redirect sends whoever asks to where they ask. It ends as with Go's own client, which
// skopeo has and the lab's skopeo has not: it follows no more than ten.
func redirect(req *http.Request) (*http.Response, error) {
	to := *req.URL
	hop, _ := strconv.Atoi(to.Query().Get("hop")) // without one it is the first
	if hop >= 10 {
		return nil, errors.New("stopped after 10 redirects")
	}
	to.RawQuery = "hop=" + strconv.Itoa(hop+1)
	return serve(http.RedirectHandler(to.String(), http.StatusTemporaryRedirect), req)
}

// status returns the status of an answer that is an error.
func (t Trouble) status() (int, bool) {
	status, err := strconv.Atoi(string(t))
	return status, err == nil
}

// refuse answers as a registry does that has too much to do, or the server before
// it. Docker Hub's answer to too many requests is in the registry's JSON.
func (c Condition) refuse(req *http.Request, status int) (*http.Response, error) {
	return serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if c.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((c.RetryAfter+time.Second-1)/time.Second)))
		}
		if c.Trouble == Busy {
			refuse(w, status, "TOOMANYREQUESTS", "You have reached your unauthenticated pull rate limit.")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<html><head><title>%d %s</title></head></html>\n", status, http.StatusText(status))
	}), req)
}

// spoilBlob returns the answer with a blob spoiled. The one that describes the
// image comes whole where that is what a broken connection would meet last: large
// blobs are what breaks.
func (c Condition) spoilBlob(req *http.Request, resp *http.Response) (*http.Response, error) {
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(data)
	switch c.Trouble {
	case NoBlobs:
		return serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "Unknown blob")
		}), req)
	case WrongBlobs:
		data = bytes.Clone(data)
		for i := range data {
			data[i] ^= 0xff
		}
		body = bytes.NewReader(data)
	case CutBlobs:
		body = io.MultiReader(bytes.NewReader(data[:len(data)/2]), brokenReader{resetError(req)})
	case ShortBlobs:
		body = io.MultiReader(bytes.NewReader(data[:len(data)/2]), brokenReader{io.ErrUnexpectedEOF})
	case SlowBlobs:
		body = &slowReader{ctx: req.Context(), r: body, rate: c.Rate}
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

// spoilManifest returns the answer with a manifest spoiled.
func (c Condition) spoilManifest(resp *http.Response) (*http.Response, error) {
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	switch c.Trouble {
	case BadManifests:
		data = data[:len(data)/2]
	case WrongManifest:
		data = []byte("<html><body>Please log in to use this network.</body></html>\n")
		resp.Header.Set("Content-Type", "text/html")
	}
	// What a registry says of the digest is not to be trusted; here it is silent.
	resp.Header.Del("Docker-Content-Digest")
	resp.Header.Set("Content-Length", strconv.Itoa(len(data)))
	resp.ContentLength = int64(len(data))
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, nil
}

// resetError is what reading from a connection says that the other side reset.
func resetError(req *http.Request) error {
	port := 443
	if p, err := strconv.Atoi(req.URL.Port()); err == nil {
		port = p
	}
	return &net.OpError{
		Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 10, 10, 1), Port: 41234},
		Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: port}, Err: os.NewSyscallError("read", syscall.ECONNRESET),
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// A slowReader gives so many bytes in a second, until its context ends.
type slowReader struct {
	ctx  context.Context
	r    io.Reader
	rate int64
}

func (s *slowReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b[:min(int64(len(b)), max(s.rate/20, 1))])
	if !wait(s.ctx, time.Duration(n)*time.Second/time.Duration(s.rate)) {
		return n, s.ctx.Err()
	}
	return n, err
}

// knownCode words a registry's error code as skopeo does: "toomanyrequests".
func knownCode(code string) string {
	if code == "TOOMANYREQUESTS" {
		return "toomanyrequests"
	}
	return strings.ToLower(strings.ReplaceAll(code, "_", " "))
}
