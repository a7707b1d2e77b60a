"""One trial: its spec, its process, the folder it sees, and its result."""
