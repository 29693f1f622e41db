package store

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// renewed are credentials that are asked for anew for each connection, so that certificates can be replaced while the
// process runs: a connection that is made after that uses the new ones, and is verified as any other.
type renewed struct{ current func() *tls.Config }

// ClientHandshake is part of credentials.TransportCredentials.
func (r renewed) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.current()).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is part of credentials.TransportCredentials.
func (r renewed) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are a client's credentials")
}

// Info is part of credentials.TransportCredentials.
func (r renewed) Info() credentials.ProtocolInfo { return credentials.NewTLS(r.current()).Info() }

// Clone is part of credentials.TransportCredentials.
func (r renewed) Clone() credentials.TransportCredentials { return r }

// OverrideServerName is part of credentials.TransportCredentials; nobody calls it.
func (r renewed) OverrideServerName(string) error { return errors.New("the name is the endpoint's") }
