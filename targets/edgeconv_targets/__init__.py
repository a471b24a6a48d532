"""First-party targets: packagers for the platforms that artifacts run on."""
