"""The commands, one module each: arguments in, text or JSON and an exit code out."""
