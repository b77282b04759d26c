"""The command line's main verbs as functions, for a few lines of Python; one file for what each makes."""
