"""What no one writes twice: pages made of the parser, the registry, the targets and the benchmarks' files."""
