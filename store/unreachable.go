package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"
)

// diagnosisTime is how long one member may take to let itself be looked at.
const diagnosisTime = 2 * time.Second

// verdictTime is how long a member may take to refuse a certificate.
const verdictTime = time.Second / 2

// explain gives the cause where etcd's client only says that the time was over.
func (o DialOptions) explain(ctx context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return whyUnreachable(ctx, o)
	}
	return err
}

// whyUnreachable finds out what etcd's client does not tell: it tries again and again until the time is over, and then
// says only that it is. Each member is connected to as the client would, and what goes wrong is told.
func whyUnreachable(ctx context.Context, o DialOptions) error {
	var all []string
	for _, endpoint := range o.Endpoints {
		if err := reach(ctx, endpoint, o.TLS); err != nil {
			all = append(all, err.Error())
		}
	}
	if reached := len(o.Endpoints) - len(all); reached > 0 {
		may := "there may be no leader"
		if o.TLS == nil {
			may += ", or TLS is wanted (https://)"
		}
		all = append(all, fmt.Sprintf("%d of %d can be connected to, and have not answered: %s", reached, len(o.Endpoints), may))
	}
	return errors.New(strings.Join(all, "; ")) // one line
}

func reach(ctx context.Context, endpoint string, secure func() *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosisTime)
	defer cancel()
	address := endpoint
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil {
			return err
		}
		address = u.Host
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%q is not an endpoint such as http://127.0.0.1:2379", endpoint)
	}
	if secure == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	conn, err := (&tls.Dialer{Config: secure()}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	// In TLS 1.3 a server judges the client's certificate when the client is done, and says so in the place of an answer.
	_ = conn.SetReadDeadline(time.Now().Add(verdictTime))
	if _, err = conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s ended the connection: %w", address, err)
	}
	return nil
}
