"""Which layers cost accuracy, measured: signal-to-noise ratios of each, through every pass, and what would help."""
