"""The whole way from rows to a student that people use; `quickstart` walks it on packaged data."""
