"""The command line: commands, their options, exit codes, and what a machine and data are, in words."""
