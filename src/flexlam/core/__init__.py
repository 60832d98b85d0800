"""Words everybody uses: types, action spec, config, catalogue, errors, seeding, files, checkpoints."""
