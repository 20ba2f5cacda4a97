package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"rehome/bot/intake"
	"rehome/policy"
)

// routed says where an alert would be worked.
type routed struct {
	Line    int    `json:"line"`
	ID      string `json:"id"` // in its source
	Title   string `json:"title"`
	Channel string `json:"channel"`
	Why     string `json:"why"`
	Error   string `json:"error,omitempty"` // instead, when the record could not be read
}

func (p *program) policyRouteCommand() *cobra.Command {
	var alert string
	c := &cobra.Command{
		Use:   "route --alert FILE",
		Short: "Say in which channel alerts would be worked, and by which rule",
		Long: `route reads alerts as the bot would and says for each which routing rule of
rehome.yaml takes it, to which channel, and why. Nothing is opened or sent.`,
		Example: `  rehome policy route --config rehome.yaml --alert alerts.ndjson
  rehome policy route --alert alert.json --format json | jq -r '.[].channel'`,
		Args: args(0, 0, "flags only"),
	}
	c.Flags().StringVar(&alert, "alert", "", "`file` with alerts; - for standard input")
	format := choiceFlag(c, "format", "how to print it", "table", "json")
	c.RunE = func(*cobra.Command, []string) error {
		if alert == "" {
			return wrong("rehome policy route needs an alert; name a file with --alert, or - for standard input")
		}
		return p.policyRoute(alert, format.value)
	}
	return c
}

func (p *program) policyRoute(file, format string) (err error) {
	s, pol, err := p.configured()
	if err != nil {
		return err
	}
	from, name, err := p.open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	f, err := intake.Open(from, name, nil)
	if err != nil {
		return err
	}
	route, noRoute := s.router() // what is wrong with the file is said first
	all, unread := []routed{}, 0
	for rec, err := range f.Records() {
		for _, one := range routesOf(rec, err, pol, route) {
			all = append(all, one)
			if one.Error != "" {
				unread++
			}
		}
	}
	switch {
	case len(all) == 0:
		return fmt.Errorf("%s holds no alert; it should hold JSON objects, or rows of a CSV file", name)
	case noRoute != nil && unread > 0:
		wrong := all[slices.IndexFunc(all, func(r routed) bool { return r.Error != "" })]
		return fmt.Errorf("%s:%d is not understood: %s", name, wrong.Line, wrong.Error)
	case noRoute != nil:
		return noRoute
	}
	if format == "json" {
		err = p.writeJSON(all)
	} else {
		err = p.columns("LINE\tCHANNEL\tWHY\tALERT", len(all), func(i int) []string {
			r := all[i]
			if r.Error != "" {
				return []string{fmt.Sprint(r.Line), "-", "not understood: " + r.Error}
			}
			return []string{fmt.Sprint(r.Line), r.Channel, r.Why, r.ID + " " + r.Title}
		})
	}
	if err == nil && unread > 0 {
		err = fmt.Errorf("%s not understood, and would be kept in quarantine", count(unread, "record"))
	}
	return err
}

// routesOf routes the alerts of a record.
func routesOf(rec intake.Record, err error, pol *policy.Policy, route router) []routed {
	if err != nil {
		return []routed{{Line: rec.Line, Error: err.Error()}}
	}
	got := intake.Read(rec.Raw)
	var out []routed
	for _, a := range got.Alerts {
		v := a.Violation
		channel, why := pol.Route(route.rules, route.other, v, pol.Infer(v))
		out = append(out, routed{Line: rec.Line, ID: v.ID, Title: v.Title, Channel: channel, Why: why})
	}
	if len(got.Faults) > 0 {
		out = append(out, routed{Line: rec.Line, Error: (&intake.Malformed{Faults: got.Faults}).Error()})
	}
	return out
}
