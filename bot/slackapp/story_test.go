package slackapp

import (
	"strings"
	"testing"
)

func TestFromTheCommandToTheSteps(t *testing.T) {
	everyDoor(t, func(t *testing.T, d *desk) {
		check(t, d.Command(alice, triage, "/rehome", title))
		d.told(alice, "RH-1* is open in this channel")
		root := d.find(triage, "*RH-1 · ")
		if !strings.Contains(root.Text, title) {
			t.Errorf("the root does not say the title: %s", root.Text)
		}
		q1 := d.find(triage, "1. Is ")
		if q1.ThreadTS != root.TS {
			t.Errorf("question 1 is not in the root's thread")
		}
		check(t, d.Click(alice, triage, q1.TS, "3P"))
		q2 := d.find(triage, "2. ")
		check(t, d.Select(alice, triage, q2.TS, "pick", "CME"))
		q3 := d.find(triage, "3. ")
		check(t, d.Click(bob, triage, q3.TS, "Option A"))
		d.find(triage, "Prod + CME")
		d.settle()
		if m, _ := d.Message(triage, q1.TS); !strings.Contains(m.Text, "answered by <@"+alice+">") || len(m.Selects()) > 0 || len(m.Buttons()) != 1 {
			t.Errorf("question 1 is not closed: %s", m.Text)
		}
		t.Log(d.Transcript())
	})
}
