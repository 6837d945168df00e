"""Plain values that all parts share: errors, deadlines, states and results."""
