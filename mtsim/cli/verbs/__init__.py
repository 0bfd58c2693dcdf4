"""One module for each verb: its first docstring line is the help, its `command` what runs."""
