package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"rehome/bot/intake"
	"rehome/store"
)

// Whoever holds a store answers for it on a Unix socket beside its file, mode
// 0600: bbolt locks the file against everybody else. The protocol is HTTP with
// JSON, the same JSON that --format json prints:
//
//	GET /conversations       []listed
//	GET /conversations/RH-1  shown, or 404
//	GET /outbox?failed=true  []waiting
//	GET /quarantined         []keptAside
//	POST /import?name=a.csv  a file as it is; []heard while it is read, one on a line
//	POST /rehearse?name=…    the same, and nothing is kept
//	POST /reread             []heard for what is in quarantine
//	POST /discard            []number in; []keptAside that is discarded
//	GET /snapshot            a copy of the store's file
//	GET /ready               answered, as at GET /readyz
//
// Errors are {"error": "…"}; of a list that has begun, in its last line.

func socketBeside(storePath string) string { return storePath + ".sock" }

// listenBeside listens beside the store, so that whoever is told that the bot is
// up finds it there. It must be called by the process that holds the store: a
// socket left by one that crashed is replaced. Where no socket can be had, the
// bot works without one, and it returns nil.
func listenBeside(ctx context.Context, storePath string, log *slog.Logger) net.Listener {
	l, err := listenAs(ctx, socketBeside(storePath))
	if err != nil {
		log.Warn("list, show, outbox, import, backup and check will not work beside this process", "err", err)
		return nil
	}
	return l
}

// answerBeside answers at the socket beside the store until ctx ends.
func answerBeside(ctx context.Context, l net.Listener, storePath string, r remembered, ready http.HandlerFunc, log *slog.Logger) error {
	defer func() { _ = os.Remove(socketBeside(storePath)) }()
	server := &http.Server{
		Handler: besideHandler(r, ready, log), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return serveUntil(ctx, server, l)
}

// listenAs makes a socket that never was open to others: it is born in a folder
// of our own and moved to its place, over one that was left behind.
func listenAs(ctx context.Context, at string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(at), ".rehome-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(dir) }()
	born := filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(ctx, "unix", born)
	if err != nil {
		return nil, fmt.Errorf("listening beside the store: %w; a socket's path has room for about 100 bytes, so keep the store in a folder with a shorter name", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it moves
	if err := errors.Join(os.Chmod(born, 0o600), os.Rename(born, at)); err != nil {
		return nil, errors.Join(fmt.Errorf("listening beside the store: %w; remove what is at %s, and start again", err, at), l.Close(), os.Remove(born))
	}
	return l, nil
}

func besideHandler(r remembered, ready http.HandlerFunc, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", ready)
	mux.HandleFunc("GET /conversations", func(w http.ResponseWriter, req *http.Request) {
		all, err := r.list(req.Context())
		reply(w, all, err)
	})
	mux.HandleFunc("GET /conversations/{id}", func(w http.ResponseWriter, req *http.Request) {
		one, err := r.show(req.Context(), req.PathValue("id"))
		reply(w, one, err)
	})
	mux.HandleFunc("GET /outbox", func(w http.ResponseWriter, req *http.Request) {
		all, err := r.outbox(req.Context(), req.URL.Query().Get("failed") == "true")
		reply(w, all, err)
	})
	mux.HandleFunc("GET /quarantined", func(w http.ResponseWriter, req *http.Request) {
		all, err := r.quarantined(req.Context())
		reply(w, all, err)
	})
	file := func(take func(context.Context, source, func(heard) error) error) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			q := req.URL.Query()
			var m intake.Mapping
			if err := json.Unmarshal([]byte(cmp.Or(q.Get("map"), "null")), &m); err != nil {
				reply(w, nil, err)
				return
			}
			//nolint:contextcheck // the request's own context is used
			hear(w, func(hear func(heard) error) error {
				return take(req.Context(), source{q.Get("name"), m, req.Body}, hear)
			})
		}
	}
	mux.HandleFunc("POST /import", file(r.takeIn))
	mux.HandleFunc("POST /rehearse", file(r.rehearse))
	mux.HandleFunc("POST /reread", func(w http.ResponseWriter, req *http.Request) {
		//nolint:contextcheck // the request's own context is used
		hear(w, func(hear func(heard) error) error { return r.reread(req.Context(), hear) })
	})
	mux.HandleFunc("POST /discard", func(w http.ResponseWriter, req *http.Request) {
		var ids []uint64
		if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&ids); err != nil {
			reply(w, nil, err)
			return
		}
		gone, err := r.discard(req.Context(), ids)
		reply(w, gone, err)
	})
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, req *http.Request) {
		//nolint:contextcheck // the request's own context is used
		if err := pass(w, func(w io.Writer) error { return r.snapshot(req.Context(), w) }); err != nil {
			log.Warn("a copy of the store was not passed on", "err", err)
		}
	})
	return mux
}

// pass answers with a file that may be large. It is whole when it ends with the
// trailer; after an error that comes before its first byte, that is the answer.
func pass(w http.ResponseWriter, write func(io.Writer) error) error {
	w.Header().Set("Trailer", wholeTrailer)
	body := &begun{w: w}
	err := cmp.Or(http.NewResponseController(w).SetWriteDeadline(time.Time{}), write(body))
	switch {
	case err == nil:
		w.Header().Set(wholeTrailer, "yes")
	case !body.has:
		w.Header().Del("Trailer")
		reply(w, nil, err)
	}
	return err
}

// wholeTrailer says that all of a file was passed.
const wholeTrailer = "Whole"

// begun knows whether anything was written.
type begun struct {
	w   io.Writer
	has bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.has = true
	return b.w.Write(p)
}

// hear answers with what is heard, line by line, while the request's body is
// still read. It may take as long as the file does.
func hear(w http.ResponseWriter, work func(func(heard) error) error) {
	c := http.NewResponseController(w)
	if err := errors.Join(c.EnableFullDuplex(), c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})); err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := json.NewEncoder(w)
	last := heard{End: true}
	if err := work(func(h heard) error { return errors.Join(line.Encode(h), c.Flush()) }); err != nil {
		last.Error = err.Error()
	}
	_ = line.Encode(last) // the other end is gone when this fails
}

func reply(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		status := http.StatusInternalServerError
		if errors.Is(err, store.ErrNotFound) {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		v = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(v) // the other end is gone when this fails
}

// beside asks the process that holds the store.
type beside struct{ client *http.Client }

// dialBeside reports whether somebody answers beside the store.
func dialBeside(storePath string) (beside, bool) {
	at := socketBeside(storePath)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", at)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := dial(ctx, "", "")
	if err != nil {
		return beside{}, false
	}
	_ = c.Close()
	return beside{&http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: time.Minute}}, true
}

func (b beside) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

func (b beside) list(ctx context.Context) (all []listed, err error) {
	err = b.get(ctx, "/conversations", &all)
	return all, err
}

func (b beside) show(ctx context.Context, id string) (one shown, err error) {
	err = b.get(ctx, "/conversations/"+url.PathEscape(id), &one)
	return one, err
}

func (b beside) outbox(ctx context.Context, failed bool) (all []waiting, err error) {
	err = b.get(ctx, fmt.Sprintf("/outbox?failed=%t", failed), &all)
	return all, err
}

func (b beside) quarantined(ctx context.Context) (all []keptAside, err error) {
	err = b.get(ctx, "/quarantined", &all)
	return all, err
}

// ready asks how the process is that holds the store. One of an older version
// does not say: store.ErrNotFound.
func (b beside) ready(ctx context.Context) (how answered, err error) {
	resp, err := send(ctx, b.client, http.MethodGet, "/ready", http.NoBody)
	if err != nil {
		return how, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return how, b.refused(resp)
	}
	return how, json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&how)
}

func (b beside) takeIn(ctx context.Context, from source, each func(heard) error) error {
	return b.file(ctx, "/import", from, each)
}

// rehearse has a path of its own: a process of an older version refuses it, and
// does not take the file in.
func (b beside) rehearse(ctx context.Context, from source, each func(heard) error) error {
	err := b.file(ctx, "/rehearse", from, each)
	if errors.Is(err, store.ErrNotFound) {
		return errors.New("the process that holds the store is of an older version, which cannot rehearse; restart it, or stop it for the --dry-run")
	}
	return err
}

func (b beside) file(ctx context.Context, path string, from source, each func(heard) error) error {
	m, err := json.Marshal(from.mapping)
	if err != nil {
		return err // unreachable: texts
	}
	return b.hear(ctx, path+"?"+url.Values{"name": {from.name}, "map": {string(m)}}.Encode(), from.r, each)
}

func (b beside) reread(ctx context.Context, each func(heard) error) error {
	return b.hear(ctx, "/reread", http.NoBody, each)
}

func (b beside) discard(ctx context.Context, ids []uint64) (gone []keptAside, err error) {
	body, err := json.Marshal(ids)
	if err != nil {
		return nil, err // unreachable: numbers
	}
	return gone, b.ask(ctx, http.MethodPost, "/discard", bytes.NewReader(body), &gone)
}

func (b beside) snapshot(ctx context.Context, w io.Writer) error {
	resp, err := b.patiently(ctx, http.MethodGet, "/snapshot", http.NoBody)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return err
	}
	if resp.Trailer.Get(wholeTrailer) == "" {
		return errors.New("the process that holds the store has ended in the middle; try again")
	}
	return nil
}

// patiently sends a request, and waits as long as the disk or the file takes. Whoever
// gets an answer, which is 200, closes its body.
func (b beside) patiently(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	resp, err := send(ctx, &http.Client{Transport: b.client.Transport}, method, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(b.refused(resp), resp.Body.Close())
	}
	return resp, nil
}

// hear sends a body and passes on what is answered meanwhile.
func (b beside) hear(ctx context.Context, path string, body io.Reader, each func(heard) error) error {
	ctx, cancel := context.WithCancel(ctx) // ends the sending when the answer ends first
	defer cancel()
	resp, err := b.patiently(ctx, http.MethodPost, path, io.NopCloser(body))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := json.NewDecoder(resp.Body); ; {
		var h heard
		switch err := lines.Decode(&h); {
		case err != nil:
			return fmt.Errorf("the process that holds the store has ended in the middle; import the file again, what is in already is not doubled: %w", err)
		case h.Error != "":
			return errors.New(h.Error)
		case h.End:
			return nil
		}
		if err := each(h); err != nil {
			return err
		}
	}
}

// maxReply bounds an answer; a store of a hundred thousand conversations lists
// in less.
const maxReply = 256 << 20

func (b beside) get(ctx context.Context, path string, into any) error {
	return b.ask(ctx, http.MethodGet, path, http.NoBody, into)
}

// send sends a request to whoever holds the store. Whoever gets an answer, of
// whatever status, closes its body.
func send(ctx context.Context, client *http.Client, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://rehome"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the process that holds the store: %w", err)
	}
	return resp, nil
}

func (b beside) ask(ctx context.Context, method, path string, body io.Reader, into any) error {
	resp, err := send(ctx, b.client, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(into)
	}
	return b.refused(resp)
}

// refused says why something is not answered.
func (b beside) refused(resp *http.Response) error {
	if resp.StatusCode == http.StatusNotFound {
		return store.ErrNotFound
	}
	var said struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said) // the status says enough when this fails
	return fmt.Errorf("the process that holds the store says: %s", cmp.Or(said.Error, resp.Status))
}
