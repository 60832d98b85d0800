"""One loop and a short file a stage."""
