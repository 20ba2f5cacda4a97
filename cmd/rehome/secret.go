package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"unicode"
)

// A secret is a token or key. However it is printed, marshalled or logged, it
// shows as ***; whoever needs the value calls reveal, which is easy to search for.
type secret struct{ value string }

const hidden = "***"

func (s secret) reveal() string             { return s.value }
func (s secret) isSet() bool                { return s.value != "" }
func (secret) String() string               { return hidden }
func (secret) GoString() string             { return hidden }
func (secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(hidden)) }
func (secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (secret) MarshalYAML() ([]byte, error) { return []byte(`"` + hidden + `"`), nil } // bare, * would begin an alias
func (secret) LogValue() slog.Value         { return slog.StringValue(hidden) }

// maxSecret bounds a secret's file; Slack's tokens are under 200 bytes.
const maxSecret = 16 << 10

// secret reads a secret from the variable name, or from the file that the
// variable name_FILE names, as systemd's LoadCredential and container platforms
// offer them. An unset one is empty.
func (p *program) secret(name string) (secret, error) {
	value, file := p.env(name), p.env(name+"_FILE")
	switch {
	case value != "" && file != "":
		return secret{}, fmt.Errorf("both %s and %[1]s_FILE are set; unset one of them", name)
	case file == "":
		return secret{strings.TrimSpace(value)}, nil
	}
	stat, err := os.Stat(file)
	if err != nil {
		return secret{}, fmt.Errorf("%s_FILE: %w; write the secret there, or unset the variable", name, err)
	}
	if stat.Size() > maxSecret || !stat.Mode().IsRegular() {
		return secret{}, fmt.Errorf("%s_FILE: %s is not a file with one secret in it; check the path", name, file)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return secret{}, fmt.Errorf("%s_FILE: %w; let the user that runs rehome read it", name, err)
	}
	value = strings.TrimSpace(string(content))
	if value == "" || strings.ContainsAny(value, "\n\r") {
		return secret{}, fmt.Errorf("%s_FILE: %s must hold the secret alone, on one line", name, file)
	}
	return secret{value}, nil
}

// secrets reads what may be several at once while one replaces another: those of
// the variable name, with spaces or commas between them; those of the file that
// the variable name_FILE names, one on each line; and those of more files.
func (p *program) secrets(name string, more []string) ([]secret, error) {
	value, file := p.env(name), p.env(name+"_FILE")
	if value != "" && file != "" {
		return nil, fmt.Errorf("both %s and %[1]s_FILE are set; unset one of them", name)
	}
	var out []secret
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		out = append(out, secret{word})
	}
	if file != "" {
		all, err := secretsIn(file)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		out = append(out, all...)
	}
	for _, file := range more {
		all, err := secretsIn(file)
		if err != nil {
			return nil, err
		}
		out = append(out, all...)
	}
	return out, nil
}
