"""The command line, `tps`, a module a topic; heavy libraries are imported by the command that needs them."""
