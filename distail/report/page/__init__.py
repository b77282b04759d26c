"""Pages: everything about a run in one HTML file that needs no network."""
