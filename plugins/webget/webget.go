// Package webget asks web servers on behalf of plugins: what they answer becomes
// errors of the kinds that registries have, and redirects lead to no other kind of
// place.
package webget

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tengil/tengil/plugins/sdk"
)

// Client returns a client that follows redirects only to where they may lead: not
// from https to http, and not to this machine or its link from elsewhere.
func Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: time.Minute, TLSHandshakeTimeout: 20 * time.Second, ForceAttemptHTTP2: true,
			DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			from := via[len(via)-1].URL
			switch {
			case len(via) >= 5:
				return errors.New("it redirects more than 5 times")
			case to.URL.Scheme != "https" && to.URL.Scheme != from.Scheme:
				return fmt.Errorf("it redirects from %s to %s", from.Scheme, to.URL.Scheme)
			case near(to.URL.Hostname()) && !near(via[0].URL.Hostname()):
				return fmt.Errorf("it redirects to %s, which is this machine", to.URL.Hostname())
			}
			return nil
		},
	}
}

// near reports whether a host is this machine, or on a link of it.
func near(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") ||
		ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified())
}

// Do sends a request. The error tells what an answer other than 2xx means, and never
// has the query or credentials of the URL in it.
func Do(c *http.Client, req *http.Request) (*http.Response, error) {
	where := req.URL.Host + req.URL.Path
	res, err := c.Do(req)
	var failed *url.Error
	switch {
	case req.Context().Err() != nil && err != nil:
		return nil, req.Context().Err()
	case errors.As(err, &failed) && (failed.Timeout() || isNet(failed.Err)):
		return nil, sdk.Temporary("%s: %w", where, failed.Err)
	case errors.As(err, &failed):
		return nil, fmt.Errorf("%s: %w", where, failed.Err)
	case err != nil:
		return nil, err
	case res.StatusCode/100 == 2:
		return res, nil
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
	said := fmt.Sprintf("%s: status %s", where, res.Status)
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, sdk.NotFound("%s", said)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return res, sdk.Unauthorized("%s", said)
	case res.StatusCode == http.StatusTooManyRequests:
		return nil, sdk.Busy(retryAfter(res.Header.Get("Retry-After")), "%s", said)
	case res.StatusCode >= 500:
		return nil, sdk.Temporary("%s", said)
	}
	return nil, errors.New(said)
}

func isNet(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// retryAfter reads seconds, at most an hour; a date counts as unknown.
func retryAfter(s string) time.Duration {
	seconds, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, time.Hour)
}

// Read sends a request and reads what it answers, up to most bytes.
func Read(ctx context.Context, c *http.Client, req *http.Request, most int64) ([]byte, *http.Response, error) {
	res, err := Do(c, req.WithContext(ctx))
	if err != nil {
		return nil, res, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case err != nil:
		return nil, nil, sdk.Temporary("%s: %w", req.URL.Host, err)
	case int64(len(data)) > most:
		return nil, nil, fmt.Errorf("%s%s answers more than %d bytes", req.URL.Host, req.URL.Path, most)
	}
	return data, res, nil
}
