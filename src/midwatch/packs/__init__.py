"""Knowledge as data: TOML files and their schema. A file here needs no code elsewhere."""
