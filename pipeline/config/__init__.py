"""Options: how one is declared, and those of every command."""
