package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// diagnosisTime is how long one member may take to let itself be looked at.
const diagnosisTime = 2 * time.Second

// whyUnreachable finds out what etcd's client does not tell: it tries again and again until the time is over, and then
// says only that it is. Each member is connected to as the client would, and what goes wrong is told.
func whyUnreachable(ctx context.Context, o DialOptions) error {
	var all []string
	for _, endpoint := range o.Endpoints {
		if err := reach(ctx, endpoint, o.TLS); err != nil {
			all = append(all, err.Error())
		}
	}
	if len(all) < len(o.Endpoints) {
		return errors.New("it can be connected to, and does not answer: it may have no leader")
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
	var conn net.Conn
	var err error
	if secure != nil {
		conn, err = (&tls.Dialer{Config: secure()}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err
	}
	return conn.Close()
}
