"""Address servers that run: what each kind can be told and asked, one adapter a file."""
