package sandbox

import (
	"embed"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// routePage serves the page: /, and everything of its folder under /assets/.
func (w *Workspace) routePage(mux *http.ServeMux) {
	page, err := fs.Sub(pageFiles, "page")
	if err != nil { // unreachable: the folder is embedded
		return
	}
	files := http.FileServerFS(page)
	mux.Handle("GET /assets/", http.StripPrefix("/assets", noListing(files)))
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(rw, r, page, "index.html")
	})
}

func noListing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") || r.URL.Path == "" {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("Cache-Control", "no-cache")
		next.ServeHTTP(rw, r)
	})
}

// servePermalink leads from a permalink to the page, which finds the message.
func (w *Workspace) servePermalink(rw http.ResponseWriter, r *http.Request) {
	ts := strings.TrimPrefix(r.PathValue("message"), "p")
	if len(ts) > 6 {
		ts = ts[:len(ts)-6] + "." + ts[len(ts)-6:]
	}
	q := url.Values{"channel": {r.PathValue("channel")}, "message": {ts}}
	if thread := r.URL.Query().Get("thread_ts"); thread != "" {
		q.Set("thread", thread)
	}
	http.Redirect(rw, r, "/?"+q.Encode(), http.StatusFound)
}
