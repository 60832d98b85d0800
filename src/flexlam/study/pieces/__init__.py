"""The steps that studies are made of, one kind a file."""
