package conversation

// RootKey is the key of a conversation's root card.
const RootKey = "root"
