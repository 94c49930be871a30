"""Tables of rows: files of every format, read and written."""
