package graph_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"rehome/bot/sandbox/graph"
)

// description finds the published description of Graph, cut to our paths. It is
// not part of the project: REHOME_ORACLE names its folder, or it lies beside the
// repository.
func description(t *testing.T) string {
	t.Helper()
	const name = "graph-v1.0-slice.openapi.json"
	for _, folder := range []string{os.Getenv("REHOME_ORACLE"), "../../../../shared/oracle"} {
		if file := filepath.Join(folder, name); folder != "" {
			if _, err := os.Stat(file); err == nil {
				return file
			}
		}
	}
	t.Skip("no " + name + ": set REHOME_ORACLE to the folder that holds it to check the fake against Graph's own description")
	return ""
}

// TestAnswersAreAsGraphDescribesThem checks requests and answers against the
// description of v1.0 that Microsoft publishes, with every property that an
// answer has declared there.
func TestAnswersAreAsGraphDescribesThem(t *testing.T) {
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewRegexpFormatValidator(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`))
	openapi3.DefineStringFormatValidator("date-time", openapi3.NewRegexpFormatValidator(openapi3.FormatOfStringDateTime))
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(description(t))
	if err != nil {
		t.Fatal(err)
	}
	widenOwnersSelect(doc)
	srv, g := serve(t)
	doc.Servers = openapi3.Servers{{URL: srv.URL + "/v1.0"}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		schema string // of what is answered, or of its elements
		status int
	}{
		{"applications", "application", 200},
		{"applications?$select=id,appId,keyCredentials&$top=1", "application", 200},
		{"applications?$filter=appId%20eq%20'" + app + "'", "application", 200},
		{"applications/" + appObject, "application", 200},
		{"applications(appId='" + app + "')?$select=id,appId,displayName,signInAudience,keyCredentials,passwordCredentials", "application", 200},
		{"applications(appId='" + person + "')", "", 404},
		{"applications/" + appObject + "/owners", "", 200},
		{"applications/" + appObject + "/owners?$select=id,displayName,userPrincipalName,mail,userType,accountEnabled,appId&$top=1", "", 200},
		{"applications/" + appObject + "/federatedIdentityCredentials", "federatedIdentityCredential", 200},
		{"servicePrincipals", "servicePrincipal", 200},
		{"servicePrincipals/" + principal, "servicePrincipal", 200},
		{"servicePrincipals/" + principal + "/owners", "", 200},
		{"servicePrincipals/" + appObject, "", 404},
	} {
		req := request(t, g, srv.URL+"/v1.0/"+c.path)
		route, params, err := find(router, doc, req)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			t.Errorf("%s: the request: %v", c.path, err)
		}
		resp, body := do(t, req)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %s", c.path, resp.StatusCode, body)
		}
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header}
		out.SetBodyBytes(body)
		if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
			t.Errorf("%s: the answer: %v", c.path, err)
		}
		undeclared(t, doc, c.path, c.schema, body)
	}
}

// alternate is an address with an alternate key, which the router cannot match.
var alternate = regexp.MustCompile(`/applications\(appId='([^']*)'\)$`)

func find(router routers.Router, doc *openapi3.T, req *http.Request) (*routers.Route, map[string]string, error) {
	m := alternate.FindStringSubmatch(req.URL.Path)
	if m == nil {
		return router.FindRoute(req)
	}
	const path = "/applications(appId='{appId}')"
	at := doc.Paths.Value(path)
	return &routers.Route{Spec: doc, Path: path, PathItem: at, Method: req.Method, Operation: at.Get}, map[string]string{"appId": m[1]}, nil
}

// widenOwnersSelect lets owners be asked for properties of their own types; the
// description types them as directoryObject, which has only an id.
func widenOwnersSelect(doc *openapi3.T) {
	for path, p := range doc.Paths.Map() {
		if !strings.HasSuffix(path, "/owners") {
			continue
		}
		for _, q := range p.Get.Parameters {
			if q.Value.Name == "$select" {
				q.Value.Schema.Value.Items.Value.Enum = nil
			}
		}
	}
}

// undeclared reports properties that the description does not have. A value that
// says its @odata.type is of that type.
func undeclared(t *testing.T, doc *openapi3.T, path, schema string, body []byte) {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(body, &o); err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	if rows, ok := o["value"].([]any); ok {
		for _, row := range rows {
			declared(t, doc, path, schema, row.(map[string]any))
		}
	} else if schema != "" {
		declared(t, doc, path, schema, o)
	}
}

func declared(t *testing.T, doc *openapi3.T, path, schema string, o map[string]any) {
	t.Helper()
	if of, ok := o["@odata.type"].(string); ok {
		schema = strings.TrimPrefix(of, "#microsoft.graph.")
	}
	known := map[string]*openapi3.SchemaRef{}
	collect(doc.Components.Schemas["microsoft.graph."+schema], known)
	collect(doc.Components.Schemas["microsoft.graph.directoryObject"], known)
	for name, v := range o {
		if strings.HasPrefix(name, "@odata.") || name == "id" {
			continue
		}
		s, ok := known[name]
		if !ok {
			t.Errorf("%s: %s has no %s", path, schema, name)
			continue
		}
		rows, ok := v.([]any)
		if !ok || s.Value.Items == nil || s.Value.Items.Ref == "" {
			continue
		}
		inner := strings.TrimPrefix(s.Value.Items.Ref, "#/components/schemas/microsoft.graph.")
		for _, row := range rows {
			declared(t, doc, path, inner, row.(map[string]any))
		}
	}
}

func collect(s *openapi3.SchemaRef, into map[string]*openapi3.SchemaRef) {
	if s == nil || s.Value == nil {
		return
	}
	maps.Copy(into, s.Value.Properties)
	for _, part := range s.Value.AllOf {
		collect(part, into)
	}
}

func request(t *testing.T, g *graph.Server, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, strings.ReplaceAll(url, " ", "%20"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Token(tenant))
	return req
}

func do(t *testing.T, req *http.Request) (*http.Response, []byte) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func serve(t *testing.T) (*httptest.Server, *graph.Server) {
	t.Helper()
	g, err := graph.New(sample())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(g)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		srv.Close()
	})
	return srv, g
}
