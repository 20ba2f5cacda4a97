package bot

import "rehome/store"

// What doors that take alerts in need of the store; they know the bot alone.
type (
	Batch       = store.Batch       // what goes into or out of quarantine with alerts
	Quarantined = store.Quarantined // a record that could not be read
	Applied     = store.Applied     // what became of an alert
)
