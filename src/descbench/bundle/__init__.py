"""Results that travel: a table with all that it rests on as an RO-Crate, and whether files are still what they were."""
