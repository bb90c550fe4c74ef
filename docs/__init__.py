"""The documentation site: pages by hand in pages/, and what is generated from the code, by `make docs`."""
