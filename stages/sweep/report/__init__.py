"""Reports of a sweep: tables, the terminal display, and the HTML page with its figures."""
