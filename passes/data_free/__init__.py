"""Compiling without data: moments from batch normalisation, and inputs that are made to match them."""
