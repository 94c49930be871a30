"""The options of every command, declared once: help, docs/commands.md, checks and run.json follow from them."""
