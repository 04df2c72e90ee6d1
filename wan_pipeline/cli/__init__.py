"""The `wan` command: arguments, screens, exit codes. What it does is done by the definitions."""
