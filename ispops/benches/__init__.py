"""What `make bench` measures, one file a bench; `ispops.bench` says how to write one."""
