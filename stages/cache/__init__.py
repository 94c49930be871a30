"""Commands on caches: ls, info, verify, diff, push, pull, convert and gc."""
