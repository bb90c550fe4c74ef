"""Every line of C, HLS and HTML that bitsmith emits, as Jinja files."""
