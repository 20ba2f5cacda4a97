package sandbox

import (
	"context"
	"net"
	"sync"
)

// Pipe is a network of one address, in memory: a [net.Listener] for a server, and a DialContext for
// its clients. Everything that waits on it waits on a channel, so a testing/synctest bubble sees
// when all are waiting, and lets time pass; a real socket would hold the bubble's clock.
//
//	p := sandbox.NewPipe()
//	go http.Serve(p, w)
//	client := &http.Client{Transport: &http.Transport{DialContext: p.DialContext}}
type Pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// NewPipe makes a pipe nobody listens to or dials yet.
func NewPipe() *Pipe { return &Pipe{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept waits for the next client.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// DialContext connects to the listener, whatever the address says.
func (p *Pipe) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close ends Accept and every dial to come.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Addr is a name only.
func (p *Pipe) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "sandbox.invalid:80" }
